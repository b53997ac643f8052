// Carries out a plan of focus (src/focus/plan.rs) by WebGPU. A light plan ends at 1e-4: what it gives comes as
// `preview`, is for showing a graph and not for consensus; a full one's comes as `focus`.

const MOST_STEPS = 2048;
const HEAD = 4; // words of the state before the residuals

export async function rank(device, plan, ahead = 4) {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffers = plan.buffers.map((content) => filled(device, content, usage));
  const pipelines = new Map();
  for (const [name, code] of plan.kernels) {
    const compute = { module: device.createShaderModule({ code }), entryPoint: "main" };
    pipelines.set(name, await device.createComputePipelineAsync({ layout: "auto", compute }));
  }
  const program = plan.dispatches.map(({ kernel, words, buffers: bound, grid }) => {
    const pipeline = pipelines.get(kernel);
    const padded = [...words, ...new Array((4 - (words.length % 4)) % 4).fill(0)];
    const all = [filled(device, padded, GPUBufferUsage.UNIFORM), ...bound.map((b) => buffers[b])];
    const entries = all.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    return { pipeline, group, grid };
  });
  const residuals = [];
  let frozen = 0;
  const began = performance.now();
  while (!frozen && residuals.length < MOST_STEPS) {
    device.queue.writeBuffer(buffers[0], 0, new Uint32Array(HEAD));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    const steps = Math.min(ahead, plan.mostAhead, MOST_STEPS - residuals.length);
    for (let step = 0; step < steps; step++) {
      for (const { pipeline, group, grid } of program) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...grid);
      }
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    const words = await read(device, buffers[0]);
    frozen = words[0];
    const made = words.slice(HEAD, HEAD + 2 * words[1]);
    residuals.push(...new BigUint64Array(made.buffer));
  }
  const milliseconds = performance.now() - began;
  const parts = [];
  for (const chunk of plan.masses) {
    parts.push(...new BigUint64Array((await read(device, buffers[chunk])).buffer));
  }
  const result = { masses: parts, residuals, converged: frozen !== 0, milliseconds };
  return plan.light ? { preview: result } : { focus: result };
}

// A buffer of the given words, or of so many zeros.
function filled(device, content, usage) {
  const words = new Uint32Array(content);
  const buffer = device.createBuffer({ size: words.byteLength, usage, mappedAtCreation: true });
  new Uint32Array(buffer.getMappedRange()).set(words);
  buffer.unmap();
  return buffer;
}

async function read(device, from) {
  const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
  const to = device.createBuffer({ size: from.size, usage });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(from, 0, to, 0, from.size);
  device.queue.submit([encoder.finish()]);
  await to.mapAsync(GPUMapMode.READ);
  const words = new Uint32Array(to.getMappedRange()).slice();
  to.destroy();
  return words;
}
