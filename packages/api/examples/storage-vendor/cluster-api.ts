/** The API server over plain HTTPS: five verbs, and a watch that says no more than that something has changed. */
import { request as httpsRequest, type RequestOptions } from "node:https";
import type { KindDescriptor, ObjectMeta } from "@drayage/api";

export interface ClusterAccess {
  /** `https://host:port`. */
  readonly server: string;
  readonly ca: string;
  /** Of the controller's service account. */
  readonly token: string;
}

/** Kubernetes' kinds, as far as this controller looks at them. */
export interface KubeObject {
  metadata: ObjectMeta;
  readonly spec?: Record<string, unknown>;
  readonly status?: Record<string, unknown>;
}

/** What a server refused. */
export class ApiError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const ANSWER_MS = 30_000;
const ANSWER_BYTES_MAX = 64 << 20;

export class ClusterApi {
  readonly #access: ClusterAccess;

  constructor(access: ClusterAccess) {
    this.#access = access;
  }

  async list<T>(kind: KindDescriptor<T>, namespace: string): Promise<{ readonly items: readonly T[]; readonly version: string }> {
    const found = (await this.#call("GET", pathOf(kind, namespace))) as { items: T[]; metadata: { resourceVersion: string } };
    return { items: found.items, version: found.metadata.resourceVersion };
  }

  /** Undefined for what is not there. */
  async find<T = KubeObject>(kind: KindDescriptor<T>, namespace: string, name: string): Promise<T | undefined> {
    return (await notFoundIsUndefined(this.#call("GET", pathOf(kind, namespace, name)))) as T | undefined;
  }

  /** What is there already is there. */
  async create<T>(kind: KindDescriptor<T>, namespace: string, object: object): Promise<void> {
    try {
      await this.#call("POST", pathOf(kind, namespace), { apiVersion: versionOf(kind), kind: kind.kind, ...object });
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 409)) throw error;
    }
  }

  /** With a `metadata.resourceVersion` in it, it is refused with 409 when somebody else was faster. */
  async patch<T>(kind: KindDescriptor<T>, namespace: string, name: string, patch: object): Promise<void> {
    await this.#call("PATCH", pathOf(kind, namespace, name), patch);
  }

  async delete<T>(kind: KindDescriptor<T>, namespace: string, name: string): Promise<void> {
    await notFoundIsUndefined(this.#call("DELETE", pathOf(kind, namespace, name)));
  }

  /** Resolves at the first change after that version, at the latest after `limitMs`. */
  async changed<T>(kind: KindDescriptor<T>, namespace: string, version: string, limitMs: number, signal: AbortSignal): Promise<void> {
    const query = `?watch=true&resourceVersion=${version}&timeoutSeconds=${Math.ceil(limitMs / 1000)}`;
    await new Promise<void>((resolve, reject) => {
      const request = httpsRequest(
        this.#access.server + pathOf(kind, namespace) + query,
        { ...this.#options("GET"), signal, timeout: limitMs * 2 },
        (answer) => {
          const end = (): void => {
            resolve();
            request.destroy();
          };
          answer.once("data", end).once("end", end).once("error", end);
        },
      );
      request.once("timeout", () => request.destroy(new Error("the watch has fallen silent")));
      // A watch that breaks is no more than a reason to look again.
      request.once("error", (error) => (signal.aborted ? reject(error) : resolve())).end();
    });
  }

  #options(method: string): RequestOptions {
    return { method, ca: this.#access.ca, headers: { authorization: `Bearer ${this.#access.token}`, accept: "application/json" } };
  }

  #call(method: string, path: string, body?: object): Promise<unknown> {
    const options = this.#options(method);
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    return new Promise((resolve, reject) => {
      const request = httpsRequest(this.#access.server + path, { ...options, timeout: ANSWER_MS }, (answer) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        answer.on("data", (part: Buffer) => {
          bytes += part.length;
          if (bytes > ANSWER_BYTES_MAX) request.destroy(new Error(`${method} ${path}: the answer is larger than ${ANSWER_BYTES_MAX} bytes`));
          else parts.push(part);
        });
        answer.once("error", reject).once("end", () => {
          const text = Buffer.concat(parts).toString();
          const code = answer.statusCode ?? 0;
          if (code < 200 || code > 299) return reject(new ApiError(code, `${method} ${path}: ${code} ${text.slice(0, 500)}`));
          try {
            resolve(JSON.parse(text));
          } catch (error) {
            reject(error);
          }
        });
      });
      request.once("timeout", () => request.destroy(new Error(`${method} ${path}: no answer within ${ANSWER_MS / 1000} s`)));
      request.once("error", reject);
      if (body !== undefined) request.setHeader("content-type", type);
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

async function notFoundIsUndefined(answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return undefined;
    throw error;
  }
}

function versionOf<T>({ group, version }: KindDescriptor<T>): string {
  return group === "" ? version : `${group}/${version}`;
}

function pathOf<T>(kind: KindDescriptor<T>, namespace: string, name?: string): string {
  const root = kind.group === "" ? "/api" : "/apis";
  return `${root}/${versionOf(kind)}${kind.namespaced ? `/namespaces/${namespace}` : ""}/${kind.plural}${name === undefined ? "" : `/${name}`}`;
}

/** Kinds of Kubernetes' own, which `@drayage/api` has no need to describe. */
export const persistentVolumeClaims: KindDescriptor<KubeObject> = core("persistentvolumeclaims", "PersistentVolumeClaim", true);
export const persistentVolumes: KindDescriptor<KubeObject> = core("persistentvolumes", "PersistentVolume", false);

function core(plural: string, kind: string, namespaced: boolean): KindDescriptor<KubeObject> {
  return { group: "", version: "v1", plural, kind, namespaced };
}
