// Invocations of a workgroup, as browsers on small processors like them.
const LANES = 64u;

