// c = a b in f32, one invocation for each output, the sum in the order of the inner dimension. An
// experiment (docs/GPU.md): WGSL cannot forbid a compiler to fuse the product with the sum.

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = (group.y * groups.x + group.x) * 64u + lane;
    if at >= shape.m * shape.n {
        return;
    }
    var sum = 0.0;
    for (var p = 0u; p < shape.k; p++) {
        let product = a[(at / shape.n) * shape.k + p] * b[p * shape.n + at % shape.n];
        sum = sum + product;
    }
    c[at] = sum;
}
