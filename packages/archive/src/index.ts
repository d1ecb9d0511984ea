export * from "./backup-store.ts";
export { FORMAT_VERSION } from "./layout.ts";
export { TarballReader } from "./tarball-reader.ts";
export { type FinishedTarball, TarballWriter } from "./tarball-writer.ts";
