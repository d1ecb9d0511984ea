/** What a pod of a registered mover runs, and the Secret that tells it what to move (pod-contract.ts of the SDK). It sees the credentials of its target and no repository password. */
import {
  type BackupStorageLocation,
  backupStorageLocations,
  type DataMover,
  LOCATION_TARGET,
  MOVER_FILES_PATH,
  MOVER_SECRET_KEYS,
  MOVER_SECRET_PATH,
  validLabelValue,
} from "@drayage/api";
import { DrayError } from "@drayage/base";
import { configMaps, type EnvVar, type KubeClient, type OwnerReference, type Secret, type Volume, type VolumeMount } from "@drayage/kube";
import { MOVER_ENV, MOVER_GRACE_SECONDS, MOVER_REQUEST_KEY, type MoverOperation, type MoverRequest, moverPrefix } from "@drayage/mover-sdk";
import { readLocationSecrets } from "./mover-secret.ts";

export interface MoverProgram {
  /** That of the installation when left out. */
  readonly image?: string;
  /** Absent where the installation's own program runs a module. */
  readonly command?: readonly string[];
  readonly args: readonly string[];
  readonly env: readonly EnvVar[];
  /** How long it has after SIGTERM. */
  readonly graceSeconds: number;
  /** The ConfigMap with the module, where it is not in the image. */
  readonly files?: string;
}

/** What the pod of a program mounts beside its volume. */
export function programMounts({ files }: Pick<MoverProgram, "files">): { readonly volumes: Volume[]; readonly mounts: VolumeMount[] } {
  if (files === undefined) return { volumes: [], mounts: [] };
  return { volumes: [{ name: "mover-files", configMap: { name: files } }], mounts: [{ name: "mover-files", mountPath: MOVER_FILES_PATH, readOnly: true }] };
}

/**
 * What is to be said where this installation was not given the files of a module; undefined where it has them, or none are needed. A pod would wait for them until its time is over.
 */
export async function missingFiles(client: KubeClient, namespace: string, { metadata, spec }: DataMover, signal?: AbortSignal): Promise<string | undefined> {
  const { moduleFiles = "" } = spec;
  if (moduleFiles === "") return undefined;
  if ((await client.find(configMaps, { namespace, name: moduleFiles }, signal)) !== undefined) return undefined;
  return `mover "${metadata.name}" was not added in namespace "${namespace}": ConfigMap "${moduleFiles}" with its files is not there, and dray mover add -n ${namespace} makes it`;
}

export function programOf({ spec }: DataMover, operation: MoverOperation): MoverProgram {
  const env: EnvVar[] = [
    { name: MOVER_ENV.request, value: `${MOVER_SECRET_PATH}/${MOVER_REQUEST_KEY}` },
    { name: MOVER_ENV.workspace, value: "/scratch" },
    { name: MOVER_ENV.result, value: "/dev/termination-log" },
  ];
  const image = spec.image === undefined || spec.image === "" ? {} : { image: spec.image };
  const shared = { ...image, env, graceSeconds: MOVER_GRACE_SECONDS };
  const files = spec.moduleFiles === undefined || spec.moduleFiles === "" ? {} : { files: spec.moduleFiles };
  if (spec.module !== undefined) return { ...shared, ...files, args: ["data-mover", "run", operation, `--module=${spec.module}`] };
  return { ...shared, command: spec.command ?? [], args: [operation] };
}

export interface RequestSecretOptions {
  readonly name: string;
  readonly namespace: string;
  /** With whose end it goes; without one, whoever makes it takes it away. */
  readonly owner?: OwnerReference;
  /** The mark of its movement's epoch. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** Under which the object that it is for is named. */
  readonly label: string;
  /** A backup location, or something of the mover's own. */
  readonly target: { readonly kind: string; readonly name: string };
  readonly request: Omit<MoverRequest, "schema" | "target">;
}

/** Builds the Secret. Throws KUBE_NOT_FOUND when the location or a Secret it needs is not there. */
export async function buildRequestSecret(client: KubeClient, options: RequestSecretOptions): Promise<Secret> {
  const { namespace, name, label, owner, annotations = {}, target } = options;
  const request: MoverRequest = {
    schema: 1,
    ...options.request,
    target: { ...target, prefix: moverPrefix(options.request.mover), credentials: MOVER_SECRET_PATH },
  };
  const files = target.kind === LOCATION_TARGET ? await locationFiles(client, namespace, target.name) : {};
  const encoded = Object.entries({ ...files, [MOVER_REQUEST_KEY]: JSON.stringify(request) }).map(([key, text]) => [
    key,
    Buffer.from(text, "utf8").toString("base64"),
  ]);
  return {
    metadata: {
      name,
      namespace,
      labels: { [label]: validLabelValue(name) },
      ...(owner === undefined ? {} : { ownerReferences: [owner] }),
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    },
    type: "Opaque",
    data: Object.fromEntries(encoded) as Record<string, string>,
  };
}

async function locationFiles(client: KubeClient, namespace: string, name: string): Promise<Record<string, string>> {
  const location = await client.find<BackupStorageLocation>(backupStorageLocations, { namespace, name });
  if (location === undefined) throw new DrayError("KUBE_NOT_FOUND", `Cannot find backup storage location "${name}"`);
  const { credentialsText, caCertPem } = await readLocationSecrets(client, namespace, location);
  return {
    [MOVER_SECRET_KEYS.locationJson]: JSON.stringify({ metadata: { name, namespace }, spec: location.spec }),
    ...(credentialsText === undefined ? {} : { [MOVER_SECRET_KEYS.credentials]: credentialsText }),
    ...(caCertPem === undefined ? {} : { [MOVER_SECRET_KEYS.caCert]: caCertPem }),
  };
}
