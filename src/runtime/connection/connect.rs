//! How a client's connection begins.

use std::ffi::CString;
use std::sync::Arc;

use super::handle::{Connection, ConnectionHandler, Target, connect_message};
use super::setup::{Origin, Setup};
use crate::codec::HeaderList;
use crate::rpc::Role;
use crate::runtime::error::{Error, text};
use crate::runtime::event_loop::{Command, Resident};
use crate::runtime::life::{Kind, Runtime};
use crate::runtime::settings::Settings;
use crate::transport::{self, Endpoint, TlsConfig};

/// What is needed to connect.
pub struct ConnectRequest {
    pub endpoint: Endpoint,
    pub settings: Settings,
    /// CONNECT's headers and payload, if the library is to do the handshake.
    pub handshake: Option<(HeaderList, Vec<u8>)>,
    /// TLS settings and the name that the server's certificate must have.
    pub tls: Option<(TlsConfig, String)>,
}

impl Connection {
    /// Begins to connect; everything after that is reported to the handler.
    pub fn connect(
        runtime: &Arc<Runtime>,
        request: ConnectRequest,
        handler: Box<dyn ConnectionHandler>,
        store: impl FnOnce(&Arc<Connection>),
    ) -> Result<(), Error> {
        let ConnectRequest { endpoint, settings, handshake, tls } = request;
        if let Some((headers, payload)) = &handshake {
            connect_message(headers, payload).prepare(false, &settings.limits.messages)?;
        }
        let live = runtime.enter(Kind::Connection)?;
        let host = match &endpoint {
            Endpoint::Tcp { host, .. } => text(host.clone()),
            Endpoint::Local(_) => text(endpoint.to_string()),
            Endpoint::Socket(_) => CString::default(),
        };
        // The last that can fail: from here on the socket is ours.
        let origin = match &endpoint {
            Endpoint::Socket(raw) => Origin::Adopted(Box::new(transport::Stream::adopt(*raw, &settings.socket)?)),
            Endpoint::Tcp { .. } | Endpoint::Local(_) => Origin::Dialed(endpoint.clone()),
        };
        let target = Some(Box::new(Target { host, endpoint, handshake, tls }));
        let connection = Connection::new(Role::Client, Arc::new(settings), live, target, None, None);
        let _ = connection.handler.set(handler);
        connection.join();
        // The caller has its handle before the loop, and so any callback, knows of the connection.
        store(&connection);
        let newcomer = connection.clone();
        connection.post(Command::Settle(Box::new(move |token, context| {
            let setup = Setup::connect(newcomer, origin, token, context)?;
            Some(Box::new(setup) as Box<dyn Resident>)
        })));
        Ok(())
    }
}
