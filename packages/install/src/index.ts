export * from "./chart/chart.ts";
export * from "./guest.ts";
export * from "./manifests.ts";
export * from "./network-policies.ts";
export * from "./olm-bundle.ts";
export * from "./operator.ts";
export * from "./recovery-file.ts";
export * from "./workloads.ts";
