//! How a listener begins.

use std::sync::{Arc, Condvar, Mutex, OnceLock};

use super::driver::ListenerDriver;
use super::handle::{Listener, ListenerHandler, State};
use crate::runtime::admission::{Admission, ListenerLimits};
use crate::runtime::connection::Gatekeeper;
use crate::runtime::error::{Error, text};
use crate::runtime::event_loop::{Command, Place, Resident};
use crate::runtime::life::{Kind, Runtime};
use crate::runtime::settings::Settings;
use crate::transport::{self, Endpoint, LocalOptions, TlsConfig};

/// What is needed to listen.
pub struct ListenRequest {
    /// Nothing: connections come only by `Listener::adopt_connection`.
    pub endpoint: Option<Endpoint>,
    pub settings: Settings,
    pub limits: ListenerLimits,
    pub local: LocalOptions,
    pub tls: Option<TlsConfig>,
    /// Who answers CONNECT, if not the application.
    pub gatekeeper: Option<Gatekeeper>,
}

impl Listener {
    /// Binds and listens at once; connections are announced from then on.
    pub fn listen(
        runtime: &Arc<Runtime>,
        request: ListenRequest,
        handler: Box<dyn ListenerHandler>,
        store: impl FnOnce(&Arc<Listener>),
    ) -> Result<(), Error> {
        let live = runtime.enter(Kind::Listener)?;
        let bind = |endpoint: &Endpoint| transport::Listener::bind(endpoint, &request.local, &request.settings.socket);
        let socket = request.endpoint.as_ref().map(bind).transpose()?;
        let listener = Arc::new(Listener {
            settings: Arc::new(request.settings),
            event_loop: live.event_loop().clone(),
            live: Arc::new(live),
            handler: OnceLock::new(),
            address: text(socket.as_ref().map(transport::Listener::address).unwrap_or_default()),
            port: socket.as_ref().map_or(0, transport::Listener::port),
            socket: socket.as_ref().map(transport::Listener::shared_socket),
            place: Place::default(),
            tls: Mutex::new(request.tls),
            gatekeeper: request.gatekeeper,
            admission: Admission::new(request.limits, runtime.events()),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        let _ = listener.handler.set(handler);
        listener.admission.open(&listener);
        store(&listener);
        let (newcomer, socket) = (listener.clone(), socket.map(Box::new));
        listener.event_loop.post(Command::Settle(Box::new(move |token, context| {
            let driver = ListenerDriver::start(newcomer, socket, token, context)?;
            Some(Box::new(driver) as Box<dyn Resident>)
        })));
        if let Some(drain) = runtime.listeners().join(&listener) {
            listener.drain(drain);
        }
        Ok(())
    }
}
