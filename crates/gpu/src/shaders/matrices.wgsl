// The matrices of a product c = a b in f32: a of m x k, b of k x n, c of m x n, row-major.

struct Shape {
    m: u32,
    k: u32,
    n: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

