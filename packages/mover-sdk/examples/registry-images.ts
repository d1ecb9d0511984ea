/**
 * Example: what is no volume. The images of an ImageStream (OpenShift's internal registry), pulled over the registry's HTTP API (OCI distribution specification 1.1) into an
 * OCI image layout (image specification 1.1) in the backup location, and pushed back. The format of the manifests is its parameter.
 *
 *   <id>/oci-layout   <id>/index.json   <id>/blobs/sha256/<digest>
 */
import { createHash } from "node:crypto";
import { DrayError } from "@drayage/base";
import type { DataMover, MoverContext, MoverSource } from "@drayage/mover-sdk";

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface Manifest {
  readonly mediaType?: string;
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
  readonly manifests?: readonly Descriptor[];
}

interface ImageStream {
  readonly status?: { readonly tags?: readonly { readonly tag: string }[] };
}

const OCI = ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"];
const DOCKER = ["application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/** A manifest is JSON of a few KiB; registries themselves take no more. */
const MANIFEST_BYTES_MAX = 4 << 20;
const REF_NAME = "org.opencontainers.image.ref.name";

const mover: DataMover = {
  name: "images",
  version: "1.0.0",
  description: "Images of an internal registry, as an OCI layout",
  capabilities: { kinds: ["imagestreams.image.openshift.io"], cancel: true, progress: true, block: false, incremental: false },
  targets: ["BackupStorageLocation"],
  parameters: {
    type: "object",
    properties: {
      format: {
        type: "string",
        enum: ["oci", "docker", "any"],
        default: "any",
        description: "Manifests that are taken; the registry is asked for this format",
      },
      registry: {
        type: "string",
        default: "image-registry.openshift-image-registry.svc:5000",
        description: "Host and port of the registry; the images of a stream are in the repository of its namespace and name",
      },
      insecure: { type: "boolean", default: false, description: "Speak HTTP to the registry" },
    },
  },

  async validate(source) {
    return source.namespace === undefined ? [`${source.kind} "${source.name}" is in no namespace`] : [];
  },

  async backup(context) {
    const { id, source, target, signal } = context;
    const registry = new Registry(context);
    const descriptors: Descriptor[] = [];
    const copy = new BlobCopy(context, id);
    for (const tag of tagsOf(source)) {
      const { bytes, mediaType } = await registry.manifest(tag);
      const manifests = await copy.manifest(registry, bytes);
      descriptors.push({ mediaType, digest: digestOf(bytes), size: bytes.length, annotations: { [REF_NAME]: tag } });
      context.log.debug("An image was copied", { tag, manifests });
    }
    await target.store.put(`${id}/oci-layout`, encode({ imageLayoutVersion: "1.0.0" }), signal);
    // Last: it makes the layout one.
    await target.store.put(`${id}/index.json`, encode({ schemaVersion: 2, mediaType: OCI[1], manifests: descriptors }), signal);
    return { snapshotId: id, totalBytes: copy.bytes, incrementalBytes: copy.bytes, result: { images: String(descriptors.length) } };
  },

  async restore(context) {
    const { moved, target, signal } = context;
    const registry = new Registry(context);
    const index = JSON.parse(new TextDecoder().decode(await target.store.get(`${moved.snapshotId}/index.json`, signal))) as Manifest;
    let totalBytes = 0;
    const push = async (descriptor: Descriptor, reference: string): Promise<void> => {
      const bytes = await verified(context, moved.snapshotId, descriptor);
      const manifest = JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
      for (const child of manifest.manifests ?? []) await push(child, child.digest);
      for (const blob of blobsOf(manifest)) {
        const data = await verified(context, moved.snapshotId, blob);
        await registry.pushBlob(blob.digest, data);
        totalBytes += data.length;
        context.progress({ totalBytes: 0, doneBytes: totalBytes });
      }
      await registry.pushManifest(reference, descriptor.mediaType, bytes);
      totalBytes += bytes.length;
    };
    for (const descriptor of index.manifests ?? []) await push(descriptor, descriptor.annotations?.[REF_NAME] ?? descriptor.digest);
    return { totalBytes };
  },

  async delete({ id, target, signal }) {
    // The index first: without it, what is left is nobody's layout.
    await target.store.delete(`${id}/index.json`, signal);
    for await (const { key } of target.store.list(`${id}/`, signal)) await target.store.delete(key, signal);
  },
};

export default mover;

/** Copies blobs into the layout, each once. */
class BlobCopy {
  bytes = 0;
  readonly #context: MoverContext;
  readonly #id: string;
  readonly #seen = new Set<string>();

  constructor(context: MoverContext, id: string) {
    this.#context = context;
    this.#id = id;
  }

  /** A manifest with everything that it names; returns how many manifests that were. */
  async manifest(registry: Registry, bytes: Uint8Array): Promise<number> {
    const manifest = JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
    let count = 1;
    for (const child of manifest.manifests ?? []) count += await this.manifest(registry, (await registry.manifest(child.digest)).bytes);
    for (const { digest } of blobsOf(manifest)) if (!this.#seen.has(digest)) await this.#put(digest, await registry.blob(digest));
    await this.#put(digestOf(bytes), bytes);
    return count;
  }

  async #put(digest: string, data: Uint8Array): Promise<void> {
    const { target, signal, progress } = this.#context;
    await target.store.put(pathOf(this.#id, digest), data, signal);
    this.#seen.add(digest);
    this.bytes += data.length;
    progress({ totalBytes: 0, doneBytes: this.bytes });
  }
}

/** One repository of a registry. */
class Registry {
  readonly #base: string;
  readonly #accept: string;
  readonly #signal: AbortSignal;

  constructor({ source, parameters, signal }: MoverContext) {
    const scheme = parameters["insecure"] === true ? "http" : "https";
    this.#base = `${scheme}://${String(parameters["registry"])}/v2/${source.namespace}/${source.name}`;
    const format = parameters["format"];
    this.#accept = [...(format === "docker" ? [] : OCI), ...(format === "oci" ? [] : DOCKER)].join(", ");
    this.#signal = signal;
  }

  async manifest(reference: string): Promise<{ readonly bytes: Uint8Array; readonly mediaType: string }> {
    const response = await this.#request("GET", `/manifests/${reference}`, { headers: { accept: this.#accept } });
    const mediaType = response.headers.get("content-type") ?? "";
    if (!this.#accept.includes(mediaType) || mediaType === "")
      throw new DrayError("NOT_SUPPORTED", `Cannot copy image "${reference}": its manifest is "${mediaType}", ${this.#accept} is wanted`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes.length > MANIFEST_BYTES_MAX) throw new DrayError("NOT_SUPPORTED", `Cannot copy image "${reference}": its manifest has ${bytes.length} bytes`);
    return { bytes, mediaType };
  }

  async blob(digest: string): Promise<Uint8Array> {
    const bytes = new Uint8Array(await (await this.#request("GET", `/blobs/${digest}`)).arrayBuffer());
    if (digestOf(bytes) !== digest) throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot copy blob "${digest}": the registry gave ${digestOf(bytes)}`);
    return bytes;
  }

  async pushBlob(digest: string, data: Uint8Array): Promise<void> {
    const { headers } = await this.#request("POST", "/blobs/uploads/");
    const place = new URL(headers.get("location") ?? "", this.#base);
    place.searchParams.set("digest", digest);
    await this.#request("PUT", place.href, { body: Buffer.from(data), headers: { "content-type": "application/octet-stream" } });
  }

  async pushManifest(reference: string, mediaType: string, bytes: Uint8Array): Promise<void> {
    await this.#request("PUT", `/manifests/${reference}`, { body: Buffer.from(bytes), headers: { "content-type": mediaType } });
  }

  async #request(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    const url = path.startsWith("http") ? path : `${this.#base}${path}`;
    const response = await fetch(url, { ...init, method, signal: this.#signal });
    if (!response.ok) throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot ${method} "${url}": the registry answered ${response.status}`);
    return response;
  }
}

async function verified({ target, signal }: MoverContext, id: string, { digest, size }: Descriptor): Promise<Uint8Array> {
  const bytes = await target.store.get(pathOf(id, digest), signal);
  if (bytes.length !== size || digestOf(bytes) !== digest)
    throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot restore blob "${digest}": the layout holds ${bytes.length} bytes of ${digestOf(bytes)}`);
  return bytes;
}

function tagsOf({ object }: MoverSource): readonly string[] {
  return ((object as ImageStream | undefined)?.status?.tags ?? []).map(({ tag }) => tag);
}

function blobsOf({ config, layers = [] }: Manifest): readonly Descriptor[] {
  return config === undefined ? layers : [config, ...layers];
}

/** Digests come from the registry, so they are checked before they become part of a key. */
function pathOf(id: string, digest: string): string {
  if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw new DrayError("NOT_SUPPORTED", `Cannot copy blob "${digest}": a sha256 digest is wanted`);
  return `${id}/blobs/sha256/${digest.slice("sha256:".length)}`;
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}
