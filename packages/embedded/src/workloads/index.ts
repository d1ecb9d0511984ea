export { type StartWorkloadsOptions, startWorkloads, type Workloads } from "./start-workloads.ts";
