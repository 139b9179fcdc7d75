//! Another static library in Rust, which has the standard library in it as well.

#[unsafe(no_mangle)]
pub extern "C" fn other_sum(count: u32) -> u32 {
    std::panic::catch_unwind(|| (1..=count).collect::<Vec<_>>().iter().sum()).unwrap_or(0)
}
