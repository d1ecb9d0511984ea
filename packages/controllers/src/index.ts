export * from "./backup-repository/index.ts";
export { type DataDownloadControllerDeps, startDataDownloadController } from "./data-download/data-download.ts";
export * from "./data-movement/index.ts";
export { type DataUploadControllerDeps, startDataUploadController } from "./data-upload/data-upload.ts";
export * from "./exposers/index.ts";
export * from "./ports.ts";
