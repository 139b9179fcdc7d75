//! CRC-32, by crc32fast; and by a table of our own for the two lengths of a prelude, because crc32fast is made for long inputs:
//! for 8 bytes, choosing the right instructions takes longer than the checksum itself.

use std::sync::LazyLock;

use crc32fast::Hasher;

/// An empty hasher. Copying one is faster than making one, which has to ask what the CPU can do.
#[inline]
pub(super) fn hasher() -> Hasher {
    static BEGINNING: LazyLock<Hasher> = LazyLock::new(Hasher::new);
    BEGINNING.clone()
}

/// The CRC-32 of these bytes.
#[inline]
pub(super) fn of(bytes: &[u8]) -> u32 {
    let mut hasher = hasher();
    hasher.update(bytes);
    hasher.finalize()
}

/// `TABLES[i][byte]`: what a byte contributes to the sum if `i` bytes follow it.
static TABLES: [[u32; 256]; 8] = tables();

/// The polynomial, with its lowest power in the highest bit.
const POLYNOMIAL: u32 = 0xedb8_8320;

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum >> 1) ^ (if sum & 1 == 1 { POLYNOMIAL } else { 0 });
            bit += 1;
        }
        tables[0][byte] = sum;
        byte += 1;
    }
    let mut following = 1;
    while following < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[following - 1][byte];
            tables[following][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        following += 1;
    }
    tables
}

/// The CRC-32 of these bytes, as crc32fast computes it.
#[inline]
pub(super) fn of_lengths(bytes: [u8; 8]) -> u32 {
    let [a, b, c, d, e, f, g, h] = (u64::from_le_bytes(bytes) ^ u64::from(u32::MAX)).to_le_bytes().map(usize::from);
    let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
    !(t7[a] ^ t6[b] ^ t5[c] ^ t4[d] ^ t3[e] ^ t2[f] ^ t1[g] ^ t0[h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_crc32fast() {
        let single_bits = (0..64).map(|bit| 1u64 << bit);
        let spread = (1..1000u64).map(|seed| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for number in [0, u64::MAX].into_iter().chain(single_bits).chain(spread) {
            let bytes = number.to_le_bytes();
            assert_eq!(of_lengths(bytes), crc32fast::hash(&bytes), "{bytes:x?}");
        }
    }
}
