// c[i][j] = sum over p of a[i][p] * b[j][p], in i32, exactly: integer sums have no order.
// Rows of a and b are words of four signed bytes, padded with zeros.

struct Shape {
    m: u32,
    n: u32,
    words: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read_write> c: array<i32>;

// A workgroup makes 64 x 64 outputs, an invocation 4 x 4, in steps of 8 words.
const TILE = 64u;
const DEPTH = 8u;

var<workgroup> a_tile: array<u32, 512>;
var<workgroup> b_tile: array<u32, 512>;

fn load(row_a: u32, row_b: u32, first: u32, lane: u32) {
    for (var i = lane; i < TILE * DEPTH; i += 256u) {
        let row = i / DEPTH;
        let word = i % DEPTH;
        let at = word * TILE + row;
        let p = first + word;
        a_tile[at] = 0u;
        b_tile[at] = 0u;
        if p < shape.words {
            if row_a + row < shape.m {
                a_tile[at] = a[(row_a + row) * shape.words + p];
            }
            if row_b + row < shape.n {
                b_tile[at] = b[(row_b + row) * shape.words + p];
            }
        }
    }
}

fn dots(x: u32, y: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(dot4(x, y.x), dot4(x, y.y), dot4(x, y.z), dot4(x, y.w));
}

fn store(row: u32, column: u32, sums: vec4<i32>) {
    if row >= shape.m {
        return;
    }
    for (var j = 0u; j < 4u; j++) {
        if column + j < shape.n {
            c[row * shape.n + column + j] = sums[j];
        }
    }
}

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row_a = group.y * TILE;
    let row_b = group.x * TILE;
    var sum0 = vec4<i32>();
    var sum1 = vec4<i32>();
    var sum2 = vec4<i32>();
    var sum3 = vec4<i32>();
    for (var first = 0u; first < shape.words; first += DEPTH) {
        load(row_a, row_b, first, lane);
        workgroupBarrier();
        for (var d = 0u; d < DEPTH; d++) {
            let i = d * TILE + local.y * 4u;
            let j = d * TILE + local.x * 4u;
            let y = vec4<u32>(b_tile[j], b_tile[j + 1u], b_tile[j + 2u], b_tile[j + 3u]);
            sum0 += dots(a_tile[i], y);
            sum1 += dots(a_tile[i + 1u], y);
            sum2 += dots(a_tile[i + 2u], y);
            sum3 += dots(a_tile[i + 3u], y);
        }
        workgroupBarrier();
    }
    let row = row_a + local.y * 4u;
    let column = row_b + local.x * 4u;
    store(row, column, sum0);
    store(row + 1u, column, sum1);
    store(row + 2u, column, sum2);
    store(row + 3u, column, sum3);
}
