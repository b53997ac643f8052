// Each workgroup sorts 1024 candidates, highest score first and equal scores by id, and keeps the first
// k. The order is total, so that no schedule changes the result. Candidates beyond the end sort last.

struct Shape {
    count: u32,
    keep: u32,
    // In the first pass a candidate's id is its position.
    first_pass: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> scores: array<i32>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> best_scores: array<i32>;
@group(0) @binding(4) var<storage, read_write> best_ids: array<u32>;

const SIZE = 1024u;
const NOBODY = 0xffffffffu;
const WORST = -2147483647;

var<workgroup> score: array<i32, 1024>;
var<workgroup> id: array<u32, 1024>;

fn load(first: u32, lane: u32) {
    for (var i = lane; i < SIZE; i += 256u) {
        let source = first + i;
        score[i] = WORST;
        id[i] = NOBODY;
        if source < shape.count {
            score[i] = scores[source];
            if shape.first_pass == 1u {
                id[i] = source;
            } else {
                id[i] = ids[source];
            }
        }
    }
}

// True when candidate i belongs before candidate j.
fn precedes(i: u32, j: u32) -> bool {
    return score[i] > score[j] || (score[i] == score[j] && id[i] < id[j]);
}

fn exchange(i: u32, j: u32) {
    let held_score = score[i];
    let held_id = id[i];
    score[i] = score[j];
    id[i] = id[j];
    score[j] = held_score;
    id[j] = held_id;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = group.y * groups.x + group.x;
    load(block * SIZE, lane);
    workgroupBarrier();
    // Bitonic sort: runs of `length` are merged by distances that halve.
    for (var length = 2u; length <= SIZE; length = length * 2u) {
        for (var distance = length / 2u; distance > 0u; distance = distance / 2u) {
            for (var pair = lane; pair < SIZE / 2u; pair += 256u) {
                let i = (pair / distance) * distance * 2u + pair % distance;
                let j = i + distance;
                let forward = (i & length) == 0u;
                if precedes(j, i) == forward {
                    exchange(i, j);
                }
            }
            workgroupBarrier();
        }
    }
    for (var i = lane; i < shape.keep; i += 256u) {
        let to = block * shape.keep + i;
        if to < arrayLength(&best_ids) {
            best_scores[to] = score[i];
            best_ids[to] = id[i];
        }
    }
}
