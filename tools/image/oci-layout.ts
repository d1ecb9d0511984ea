/**
 * Images as files: an OCI image layout (image-spec 1.1, image-layout.md), and the same as one tar file with the index that `docker load` reads beside it
 * (`manifest.json`), so that `docker load`, `ctr images import`, `podman load` and `skopeo copy oci:…` all take it.
 */
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pack } from "tar-stream";
import { digestOf, type Layer } from "./layer.ts";

export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly user: string;
  readonly env: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

export interface PlatformImage {
  readonly architecture: "amd64" | "arm64";
  readonly layers: readonly Layer[];
}

export interface LayoutFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly architecture: string; readonly os: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

const MEDIA = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
} as const;
/** An image that says when it was made would be another one each time. */
const CREATED = "1970-01-01T00:00:00Z";

/** Every file of the layout, in order. `name` is the image's, as `drayage/dray:0.1.0`. */
export function imageLayout(name: string, config: ImageConfig, images: readonly PlatformImage[]): LayoutFile[] {
  const blobs = new Map<string, Uint8Array>();
  const put = (bytes: Uint8Array, mediaType: string): Descriptor => {
    const digest = digestOf(bytes);
    blobs.set(`blobs/sha256/${digest.slice("sha256:".length)}`, bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const forDocker: object[] = [];
  const manifests = images.map(({ architecture, layers }): Descriptor => {
    const layerDescriptors = layers.map(({ blob, mediaType }) => put(blob, mediaType));
    const configDescriptor = put(json(imageConfig(architecture, layers, config)), MEDIA.config);
    // docker load takes one image of a name: the first platform's.
    if (forDocker.length === 0)
      forDocker.push({ Config: blobPath(configDescriptor), RepoTags: [name], Layers: layerDescriptors.map((descriptor) => blobPath(descriptor)) });
    const manifest = { schemaVersion: 2, mediaType: MEDIA.manifest, config: configDescriptor, layers: layerDescriptors, annotations: config.labels };
    return { ...put(json(manifest), MEDIA.manifest), platform: { architecture, os: "linux" } };
  });
  const image = put(json({ schemaVersion: 2, mediaType: MEDIA.index, manifests }), MEDIA.index);
  const tag = name.slice(name.lastIndexOf(":") + 1);
  // containerd reads the whole name, others the tag.
  const annotations = { "io.containerd.image.name": qualified(name), "org.opencontainers.image.ref.name": tag };
  const index = { schemaVersion: 2, mediaType: MEDIA.index, manifests: [{ ...image, annotations }] };
  return [
    { path: "oci-layout", bytes: json({ imageLayoutVersion: "1.0.0" }) },
    { path: "index.json", bytes: json(index) },
    { path: "manifest.json", bytes: json(forDocker) },
    ...[...blobs].sort(([a], [b]) => (a < b ? -1 : 1)).map(([path, bytes]) => ({ path, bytes })),
  ];
}

/** As Docker and containerd complete a name: `drayage/dray:1` is `docker.io/drayage/dray:1`. */
export function qualified(name: string): string {
  const [first = ""] = name.split("/", 1);
  if (!name.includes("/")) return `docker.io/library/${name}`;
  return first.includes(".") || first.includes(":") || first === "localhost" ? name : `docker.io/${name}`;
}

/** Writes the layout as a folder, in place of one that was there. */
export function writeLayout(folder: string, files: readonly LayoutFile[]): void {
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  for (const { path, bytes } of files) {
    mkdirSync(dirname(join(part, path)), { recursive: true });
    writeFileSync(join(part, path), bytes);
  }
  rmSync(folder, { recursive: true, force: true });
  renameSync(part, folder);
}

/** Writes the layout as one file. */
export async function writeArchive(path: string, files: readonly LayoutFile[]): Promise<void> {
  const tar = pack();
  const parts: Buffer[] = [];
  const read = (async () => {
    for await (const part of tar) parts.push(part as Buffer);
  })();
  for (const file of files)
    await new Promise<void>((resolve, reject) => {
      tar.entry({ name: file.path, mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) }, Buffer.from(file.bytes), (error) =>
        error == null ? resolve() : reject(error),
      );
    });
  tar.finalize();
  await read;
  writeFileSync(`${path}.part`, Buffer.concat(parts));
  renameSync(`${path}.part`, path);
}

function imageConfig(architecture: string, layers: readonly Layer[], { entrypoint, user, env, labels }: ImageConfig): object {
  return {
    created: CREATED,
    architecture,
    os: "linux",
    config: { User: user, Env: env, Entrypoint: entrypoint, WorkingDir: "/", Labels: labels },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(() => ({ created: CREATED, created_by: "tools/image.ts" })),
  };
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const blobPath = ({ digest }: Descriptor): string => `blobs/sha256/${digest.slice("sha256:".length)}`;
