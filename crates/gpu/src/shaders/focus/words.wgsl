// Numbers of 64 bits as two words, the low one in x. WGSL has none of its own.

fn sum(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2(low, a.y + b.y + u32(low < a.x));
}

// a - b, where a is not below b.
fn difference(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2(a.x - b.x, a.y - b.y - u32(a.x < b.x));
}

fn below(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn apart(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    if below(a, b) {
        return difference(b, a);
    }
    return difference(a, b);
}

// The high word of a * b, by parts of 16 bits: no sum in here reaches 2^32.
fn high_product(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let middle = a1 * b0 + ((a0 * b0) >> 16u);
    let other = a0 * b1 + (middle & 0xffffu);
    return a1 * b1 + (middle >> 16u) + (other >> 16u);
}

fn product(a: u32, b: u32) -> vec2<u32> {
    return vec2(a * b, high_product(a, b));
}

// x * q / 2^32, rounded down.
fn scaled(x: vec2<u32>, q: u32) -> vec2<u32> {
    return sum(product(x.y, q), vec2(high_product(x.x, q), 0u));
}

// x * t / 2^62, rounded down, for x and t of at most 2^62.
fn share(x: vec2<u32>, t: vec2<u32>) -> vec2<u32> {
    let cross = sum(product(x.x, t.y), product(x.y, t.x));
    let middle = sum(cross, vec2(high_product(x.x, t.x), 0u));
    let high = sum(product(x.y, t.y), vec2(middle.y, 0u));
    return vec2((high.x << 2u) | (middle.x >> 30u), (high.y << 2u) | (high.x >> 30u));
}

// 2^62.
const ONE = vec2<u32>(0u, 0x40000000u);

