export { type DirectoryStoreOptions, openDirectoryStore } from "./filesystem/directory-store.ts";
export { type FilesystemStorageOptions, openFilesystemStorage } from "./filesystem/filesystem-storage.ts";
export * from "./object-store.ts";
export * from "./storage.ts";
export * from "./wrappers/metered-storage.ts";
export * from "./wrappers/retrying-object-store.ts";
export * from "./wrappers/retrying-storage.ts";
export * from "./wrappers/throttled-storage.ts";
