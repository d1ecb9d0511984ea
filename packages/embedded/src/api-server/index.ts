export { type ApiServer, type ApiServerOptions, startApiServer } from "./api-server.ts";
export type { FaultRule, Faults } from "./faults.ts";
export type { ApiObject } from "./json.ts";
export type { RequestRecord } from "./request-handler.ts";
export type { Change, Storage } from "./storage.ts";
