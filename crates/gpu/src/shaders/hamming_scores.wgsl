// Words of bits: minus the number in which they differ, so that near is high.
fn near(x: u32, y: u32) -> i32 {
    return -i32(countOneBits(x ^ y));
}

