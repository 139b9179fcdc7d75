//! The callbacks of the header, in each of which test_thread_end.c ends the thread.

use crate::header_text;

/// Every callback that the header knows: `esrpc_stream_callbacks.on_message`, `esrpc_flush_callback`.
pub fn callbacks() -> Vec<String> {
    let header = header_text::committed();
    let mut callbacks = Vec::new();
    let mut slots = Vec::new();
    for line in header.lines() {
        let line = line.trim();
        let mut starts = ["typedef void (ESRPC_CALL *", "typedef bool (ESRPC_CALL *"].into_iter();
        if let Some(rest) = starts.find_map(|start| line.strip_prefix(start)) {
            callbacks.extend(rest.split_once(')').map(|(name, _)| name.to_owned()));
        } else if let Some(rest) = line.strip_prefix("void (ESRPC_CALL *") {
            slots.extend(rest.split_once(')').map(|(name, _)| name.to_owned()));
        } else if let Some(rest) = line.strip_prefix("} esrpc_") {
            let table = rest.trim_end_matches(';');
            callbacks.extend(slots.drain(..).map(|slot| format!("esrpc_{table}.{slot}")));
        }
    }
    assert!(slots.is_empty() && callbacks.len() > 20, "{callbacks:?}, {slots:?}");
    callbacks
}
