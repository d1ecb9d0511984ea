export * from "./bytes.ts";
export * from "./clock.ts";
export * from "./errors.ts";
export * from "./log.ts";
export * from "./make-folders.ts";
export * from "./queue.ts";
export * from "./random.ts";
export * from "./retry.ts";
