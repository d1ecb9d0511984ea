/**
 * The registration of the built-in mover: an object like that of any other. Node-agents take its DataUploads and DataDownloads, as a vendor's own controller takes those of its name,
 * so `controller` is set and no pod is made by its DataMover.
 *
 * Its parameters are what Velero hands to an uploader: `spec.uploaderConfig` of a Backup or a Restore ends in `spec.dataMoverConfig` under these names (velero.md 8.4).
 */
import { DRAYAGE_DATA_MOVER } from "./data-path.ts";
import type { DataMover } from "./generated/index.ts";
import { DRAYAGE_API_VERSION, LOCATION_TARGET } from "./movers.ts";

/** Names of the parameters. */
export const BUILT_IN_PARAMETERS = {
  parallelUpload: "ParallelFilesUpload",
  parallelDownload: "ParallelFilesDownload",
  sparse: "WriteSparseFiles",
  compression: "Compression",
  bandwidth: "BandwidthLimit",
} as const;

/** Compressors of Kopia's that are worth choosing between. The others are older, or the same ones by another name. */
export const BUILT_IN_COMPRESSIONS = [
  "none",
  ...["zstd-fastest", "zstd", "zstd-better-compression", "zstd-best-compression"],
  ...["s2-default", "gzip-best-speed", "gzip", "gzip-best-compression"],
] as const;

/** A number of bytes with a unit of 1024, as `parseBytes` of the base package reads it. */
const BYTE_COUNT_PATTERN = "^[1-9][0-9]{0,11}[KMG]?$";

/** The DataMover of this version of the program. */
export function builtInMover(version: string): DataMover {
  const parallel = { type: "integer", minimum: 1, maximum: 999_999 };
  return {
    apiVersion: DRAYAGE_API_VERSION,
    kind: "DataMover",
    metadata: { name: DRAYAGE_DATA_MOVER, labels: { "app.kubernetes.io/name": "drayage" } },
    spec: {
      version,
      description: "Volumes into a Kopia repository, as Velero's own mover writes it",
      controller: true,
      capabilities: { kinds: ["persistentvolumeclaims"], cancel: true, progress: true, block: true, incremental: true },
      targets: [LOCATION_TARGET],
      parameters: {
        type: "object",
        properties: {
          [BUILT_IN_PARAMETERS.parallelUpload]: {
            ...parallel,
            description:
              "Files of one volume that are read at once; one for each processor of the mover when left out. spec.uploaderConfig.parallelFilesUpload of a Backup sets it",
          },
          [BUILT_IN_PARAMETERS.compression]: {
            type: "string",
            enum: [...BUILT_IN_COMPRESSIONS],
            description:
              "How data is compressed before it is sealed, by Kopia's names; as the repository's policies say when left out. What it holds already stays as it is",
          },
          [BUILT_IN_PARAMETERS.bandwidth]: {
            type: "string",
            pattern: BYTE_COUNT_PATTERN,
            description: "Bytes a second that the mover of one volume may send, and as many that it may fetch; with K, M or G as 20M. No limit when left out",
          },
          [BUILT_IN_PARAMETERS.parallelDownload]: {
            ...parallel,
            description: "Files of one volume that are written at once. spec.uploaderConfig.parallelFilesDownload of a Restore sets it",
          },
          [BUILT_IN_PARAMETERS.sparse]: {
            type: "boolean",
            default: false,
            description: "Leave blocks of zeros out of restored files. spec.uploaderConfig.writeSparseFiles of a Restore sets it",
          },
        },
      },
    },
  };
}
