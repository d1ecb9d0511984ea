export { type ObjectStore, type ObjectStoreOptions, startObjectStore } from "./object-store.ts";
export type { RequestLog, RequestRecord } from "./request-log.ts";
export type { StoreCredentials } from "./signature-v4.ts";
export { type FaultRule, type RequestFacts, type StoreFault, StoreFaults } from "./store-faults.ts";
