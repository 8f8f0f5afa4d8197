//! Where a JSON string has a byte that does not stand for itself: eight bytes are looked at together.

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

#[cfg(test)]
mod tests {
    use super::*;

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
