//! Copying many bytes, in pieces.
//!
//! From 2 to 3 KiB on the C library copies with a single instruction, `rep movsb`, which the CPU is free to do well or badly:
//! AMD's Zen 3 and Zen 4 take ten times as long where the destination lies up to 47 bytes behind the source, counted within a
//! page, which is up to the heap. Shorter copies use plain vector instructions, which are as fast and have no such weakness.

/// What is copied at once.
pub(super) const PIECE_LEN: usize = 2 * 1024;

pub fn append_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len());
    for piece in bytes.chunks(PIECE_LEN) {
        out.extend_from_slice(piece);
    }
}

/// Moves `buffer[from..to]` to the buffer's beginning.
pub fn move_to_front(buffer: &mut [u8], from: usize, to: usize) {
    if from == 0 {
        return;
    }
    let mut at = from;
    while at < to {
        let end = to.min(at + PIECE_LEN);
        buffer.copy_within(at..end, at - from);
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [usize; 6] = [0, 1, PIECE_LEN - 1, PIECE_LEN, PIECE_LEN + 1, 3 * PIECE_LEN + 5];

    fn numbers(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn all_bytes_are_appended_in_their_order() {
        for len in LENGTHS {
            let mut out = b"before".to_vec();
            append_bytes(&mut out, &numbers(len));
            assert_eq!(out.strip_prefix(b"before"), Some(numbers(len).as_slice()));
        }
    }

    #[test]
    fn bytes_move_to_the_front_also_onto_themselves() {
        for len in LENGTHS {
            for from in [0, 1, 100, PIECE_LEN, 5 * PIECE_LEN] {
                let mut buffer = [vec![0; from], numbers(len), b"behind".to_vec()].concat();
                move_to_front(&mut buffer, from, from + len);
                assert_eq!(buffer.get(..len), Some(numbers(len).as_slice()));
                assert!(buffer.ends_with(b"behind"));
            }
        }
    }
}
