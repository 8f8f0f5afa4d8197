//! Where a JSON string has a byte that does not stand for itself: eight bytes are looked at together for the first, sixteen for all.

/// How many bytes are looked at together.
pub(super) const TOGETHER: usize = 8;

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = LOW << 7;

/// The place of the first quote, backslash or control character among these bytes.
#[inline]
pub(super) fn first_mark(block: [u8; TOGETHER]) -> Option<usize> {
    let bytes = u64::from_le_bytes(block);
    // Right up to the first byte that is below, which borrows from those after it; no other one is asked for.
    let below = |bytes: u64, least: u8| bytes.wrapping_sub(LOW * u64::from(least)) & !bytes;
    let is = |byte: u8| below(bytes ^ (LOW * u64::from(byte)), 1);
    let marks = (below(bytes, b' ') | is(b'"') | is(b'\\')) & HIGH;
    (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
}

/// How many bytes are looked at together for all marks among them.
pub(super) const BLOCK: usize = 16;

/// The places of all quotes, backslashes and control characters among these bytes: a bit for each, the lowest for the first.
#[cfg(target_arch = "x86_64")]
#[inline]
#[expect(
    unsafe_code,
    reason = "the processor's own instructions for it, which no safe function of the standard library has"
)]
pub(super) fn all_marks(block: [u8; BLOCK]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    // SAFETY: every x86-64 processor has SSE2, and 16 bytes are read where there are 16.
    unsafe {
        let bytes = _mm_loadu_si128(block.as_ptr().cast());
        let is = |byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed()));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(is(b'"'), is(b'\\')), control)).cast_unsigned()
    }
}

/// The places of all quotes, backslashes and control characters among these bytes: a bit for each, the lowest for the first.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn all_marks(block: [u8; BLOCK]) -> u32 {
    one_by_one(block)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn one_by_one(block: [u8; BLOCK]) -> u32 {
    let marked = |byte: u8| u32::from(byte < b' ' || byte == b'"' || byte == b'\\');
    block.into_iter().rev().fold(0, |marks, byte| marks << 1 | marked(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_marks_are_found_at_their_places() {
        for around in [b'x', b'"', 0, 0xff, b' '] {
            for byte in 0..=u8::MAX {
                for at in 0..BLOCK {
                    let mut block = [around; BLOCK];
                    block[at] = byte;
                    let marked = |byte: u8| byte < b' ' || matches!(byte, b'"' | b'\\');
                    let places = (0..BLOCK).filter(|at| marked(block[*at])).map(|at| 1 << at).sum::<u32>();
                    assert_eq!((all_marks(block), one_by_one(block)), (places, places), "{block:?}");
                }
            }
        }
    }

    #[test]
    fn the_first_mark_is_found_whatever_stands_around_it() {
        let marked = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\');
        for around in [b'x', 0x7f, 0x80, 0x9f, 0xff, b' ', b'!', b'#', b'[', b']', 0xa2, 0xdc, 0, b'"'] {
            for byte in 0..=u8::MAX {
                for at in 0..TOGETHER {
                    for after in [byte, around, 0x20, 0x21, 0x23, 0x5d] {
                        let mut block = [around; TOGETHER];
                        block[at..].fill(after);
                        block[at] = byte;
                        assert_eq!(first_mark(block), block.iter().position(marked), "{block:?}");
                    }
                }
            }
        }
    }
}
