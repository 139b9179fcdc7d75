//! Times as C gives them: in milliseconds, or ESRPC_NO_TIMEOUT.

use std::time::Duration;

use super::constants::ESRPC_NO_TIMEOUT;
use super::failure::Failure;

/// A day; more is taken for a mistake in the unit.
pub(crate) const MAX_TIME_MS: u32 = 24 * 60 * 60 * 1000;

/// A timeout given in milliseconds; none for ESRPC_NO_TIMEOUT.
pub(crate) fn timeout(timeout_ms: u32) -> Option<Duration> {
    (timeout_ms != ESRPC_NO_TIMEOUT).then(|| Duration::from_millis(timeout_ms.into()))
}

/// How long something may take; none for ESRPC_NO_TIMEOUT. At once would be no time to do it in.
pub(crate) fn limit(timeout_ms: u32, option: &str) -> Result<Option<Duration>, Failure> {
    if timeout_ms == 0 {
        return Err(Failure::invalid_argument(format!("{option} is 0; for no limit it must be ESRPC_NO_TIMEOUT")));
    }
    delay(timeout_ms, option)
}

/// How long something is put off; 0 is at once, none for ESRPC_NO_TIMEOUT.
pub(crate) fn delay(delay_ms: u32, option: &str) -> Result<Option<Duration>, Failure> {
    if delay_ms != ESRPC_NO_TIMEOUT && delay_ms > MAX_TIME_MS {
        let range = format!("it must be at most {MAX_TIME_MS} (a day), or ESRPC_NO_TIMEOUT");
        return Err(Failure::invalid_argument(format!("{option} is {delay_ms}; {range}")));
    }
    Ok(timeout(delay_ms))
}
