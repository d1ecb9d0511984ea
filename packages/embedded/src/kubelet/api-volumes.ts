/** The contents of volumes that come from the API: secret, configMap, downwardAPI, projected. */
import { DrayError, fromBase64, utf8 } from "@drayage/base";
import type { Container, Pod, Volume } from "@drayage/kube";
import { fieldValue, type PodFacts, type ReferenceSource, resourceValue } from "./environment.ts";
import { podKey } from "./pod-types.ts";
import type { ProjectedFile, Projection } from "./projection.ts";

export interface TokenRequest {
  readonly audience?: string;
  readonly expirationSeconds: number;
}

/** Gives tokens of a pod's service account; they are kept and renewed by whoever provides them. */
export type TokenSource = (pod: Pod, request: TokenRequest) => Promise<string>;

export interface ApiVolumeSources extends ReferenceSource {
  readonly facts: PodFacts;
  readonly token: TokenSource;
  /** The certificate authority of the API server, in PEM; what ConfigMap kube-root-ca.crt holds where a controller publishes it. */
  readonly caPem: string;
}

interface KeyToPath {
  readonly key: string;
  readonly path: string;
  readonly mode?: number;
}
interface ObjectProjection {
  readonly name?: string;
  readonly items?: readonly KeyToPath[];
  readonly optional?: boolean;
}
interface DownwardItem {
  readonly path: string;
  readonly mode?: number;
  readonly fieldRef?: { readonly fieldPath: string };
  readonly resourceFieldRef?: { readonly containerName?: string; readonly resource: string; readonly divisor?: string };
}
interface ProjectedSource {
  readonly secret?: ObjectProjection;
  readonly configMap?: ObjectProjection;
  readonly downwardAPI?: { readonly items?: readonly DownwardItem[] };
  readonly serviceAccountToken?: { readonly audience?: string; readonly expirationSeconds?: number; readonly path: string };
}

const DEFAULT_MODE = 0o644;
const TOKEN_SECONDS = 3607;
export const SERVICE_ACCOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount";
const ROOT_CA = "kube-root-ca.crt";

/** The volume every pod gets that does not refuse it, under the name that an API server's admission would give it. */
export const SERVICE_ACCOUNT_VOLUME: Volume = {
  name: "kube-api-access-drayage",
  projected: {
    defaultMode: DEFAULT_MODE,
    sources: [
      { serviceAccountToken: { path: "token", expirationSeconds: TOKEN_SECONDS } },
      { configMap: { name: ROOT_CA, items: [{ key: "ca.crt", path: "ca.crt" }] } },
      { downwardAPI: { items: [{ path: "namespace", fieldRef: { fieldPath: "metadata.namespace" } }] } },
    ],
  },
};

/** Whether a container should see the service account and the API server's admission has not already arranged it. */
export function wantsServiceAccount(pod: Pod, container: Container): boolean {
  return pod.spec.automountServiceAccountToken !== false && !(container.volumeMounts ?? []).some(({ mountPath }) => mountPath === SERVICE_ACCOUNT_PATH);
}

/** The files of the volume; undefined when it is not of these types. Throws KUBE_NOT_FOUND for a reference that is not optional and not there. */
export async function apiVolumeContent(pod: Pod, volume: Volume, sources: ApiVolumeSources): Promise<Projection | undefined> {
  if (volume.secret !== undefined) {
    const { secretName, ...rest } = volume.secret;
    return content(pod, [{ secret: { ...rest, ...(secretName === undefined ? {} : { name: secretName }) } }], volume.secret.defaultMode, sources);
  }
  if (volume.configMap !== undefined) return content(pod, [{ configMap: volume.configMap }], volume.configMap.defaultMode, sources);
  if (volume.downwardAPI !== undefined) {
    return content(
      pod,
      [{ downwardAPI: volume.downwardAPI as { items?: DownwardItem[] } }],
      (volume.downwardAPI as { defaultMode?: number }).defaultMode,
      sources,
    );
  }
  if (volume.projected !== undefined) return content(pod, (volume.projected.sources ?? []) as ProjectedSource[], volume.projected.defaultMode, sources);
  return undefined;
}

async function content(pod: Pod, from: readonly ProjectedSource[], mode: number | undefined, sources: ApiVolumeSources): Promise<Projection> {
  const files = new Map<string, ProjectedFile>();
  const put = (path: string, bytes: Uint8Array, own?: number): void => void files.set(path, { bytes, mode: own ?? mode ?? DEFAULT_MODE });
  for (const source of from) {
    if (source.secret !== undefined) await putKeys("secret", source.secret, pod, sources, put);
    if (source.configMap !== undefined) await putKeys("configmap", source.configMap, pod, sources, put);
    for (const item of source.downwardAPI?.items ?? []) put(item.path, utf8(downwardValue(pod, item, sources.facts)), item.mode);
    const token = source.serviceAccountToken;
    if (token !== undefined) {
      const text = await sources.token(pod, {
        expirationSeconds: token.expirationSeconds ?? TOKEN_SECONDS,
        ...(token.audience === undefined ? {} : { audience: token.audience }),
      });
      put(token.path, utf8(text), mode ?? DEFAULT_MODE);
    }
  }
  return files;
}

async function putKeys(
  kind: "secret" | "configmap",
  reference: ObjectProjection,
  pod: Pod,
  sources: ApiVolumeSources,
  put: (path: string, bytes: Uint8Array, mode?: number) => void,
): Promise<void> {
  const name = reference.name ?? "";
  const data = kind === "secret" ? await secretData(name, sources) : await configData(name, sources);
  if (data === undefined) {
    if (reference.optional === true) return;
    throw new DrayError("KUBE_NOT_FOUND", `${kind} "${name}" not found`);
  }
  if (reference.items === undefined) {
    for (const [key, bytes] of data) put(key, bytes);
    return;
  }
  for (const { key, path, mode } of reference.items) {
    const bytes = data.get(key);
    if (bytes !== undefined) put(path, bytes, mode);
    else if (reference.optional !== true) {
      throw new DrayError(
        "KUBE_NOT_FOUND",
        `references non-existent ${kind === "secret" ? "secret" : "config"} key: ${key} (${podKey(pod).namespace}/${name})`,
      );
    }
  }
}

async function secretData(name: string, sources: ApiVolumeSources): Promise<Map<string, Uint8Array> | undefined> {
  const secret = await sources.secret(name);
  return secret === undefined ? undefined : new Map(Object.entries(secret.data ?? {}).map(([key, value]) => [key, fromBase64(value) ?? new Uint8Array()]));
}

async function configData(name: string, sources: ApiVolumeSources): Promise<Map<string, Uint8Array> | undefined> {
  const config = await sources.configMap(name);
  if (config === undefined) return name === ROOT_CA ? new Map([["ca.crt", utf8(sources.caPem)]]) : undefined;
  return new Map([
    ...Object.entries(config.data ?? {}).map(([key, value]) => [key, utf8(value)] as const),
    ...Object.entries(config.binaryData ?? {}).map(([key, value]) => [key, fromBase64(value) ?? new Uint8Array()] as const),
  ]);
}

function downwardValue(pod: Pod, item: DownwardItem, facts: PodFacts): string {
  if (item.resourceFieldRef !== undefined) return resourceValue(pod, undefined, item.resourceFieldRef, facts);
  const path = item.fieldRef?.fieldPath ?? "";
  const value = fieldValue(pod, path, facts);
  if (value === undefined) throw new DrayError("KUBE_INVALID", `Cannot write "${item.path}": fieldPath "${path}" is not supported`);
  return value;
}
