// Invocations of a workgroup.
const LANES = 256u;

