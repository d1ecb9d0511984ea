/** Doubles of the controllers' ports, and the cluster of a recording, for tests of this and of other packages. */
export * from "./many-uploads.ts";
export * from "./memory-backup-store.ts";
export * from "./memory-spool.ts";
export * from "./recorded-cluster.ts";
export * from "./simulated-storage.ts";
