/** A registry of container images in memory, on loopback: as much of the OCI distribution API as pulling and pushing need. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export interface SmallRegistry {
  /** `127.0.0.1:port`. */
  readonly host: string;
  /** Puts an image with one layer there and returns the digest of its manifest. */
  addImage(repository: string, tag: string, layer: Uint8Array, mediaType?: string): string;
  /** Digest of the manifest behind a tag. */
  digest(repository: string, tag: string): string | undefined;
  /** Everything is gone. */
  empty(): void;
  close(): Promise<void>;
}

const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";

export async function startSmallRegistry(): Promise<SmallRegistry> {
  const blobs = new Map<string, Uint8Array>();
  const manifests = new Map<string, { readonly bytes: Uint8Array; readonly mediaType: string }>();
  const sha = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  const putManifest = (repository: string, reference: string, bytes: Uint8Array, mediaType: string): void => {
    for (const name of [reference, sha(bytes)]) manifests.set(`${repository}@${name}`, { bytes, mediaType });
  };
  const server: Server = createServer((request, response) => {
    void (async () => {
      const { pathname, searchParams } = new URL(request.url ?? "", "http://registry");
      const [, repository = "", what, reference = ""] = /^\/v2\/(.+)\/(manifests|blobs)\/(.+)$/.exec(pathname) ?? [];
      const body = await bodyOf(request);
      if (request.method === "POST") return void response.writeHead(202, { location: `/v2/${repository}/blobs/uploads/one` }).end();
      if (request.method === "PUT") {
        if (what === "manifests") putManifest(repository, reference, body, request.headers["content-type"] ?? "");
        else if (searchParams.get("digest") === sha(body)) blobs.set(sha(body), body);
        else return void response.writeHead(400).end();
        return void response.writeHead(201).end();
      }
      const manifest = manifests.get(`${repository}@${reference}`);
      const found = what === "manifests" ? manifest?.bytes : blobs.get(reference);
      if (found === undefined) return void response.writeHead(404).end();
      response.writeHead(200, { "content-type": manifest?.mediaType ?? "application/octet-stream" }).end(found);
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    addImage(repository, tag, layer, mediaType = OCI_MANIFEST) {
      const config = Buffer.from(JSON.stringify({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [sha(layer)] } }));
      const described = (bytes: Uint8Array, type: string) => ({ mediaType: type, digest: sha(bytes), size: bytes.length });
      const manifest = {
        schemaVersion: 2,
        mediaType,
        config: described(config, "application/vnd.oci.image.config.v1+json"),
        layers: [described(layer, "application/vnd.oci.image.layer.v1.tar")],
      };
      for (const bytes of [config, layer]) blobs.set(sha(bytes), bytes);
      const bytes = Buffer.from(JSON.stringify(manifest));
      putManifest(repository, tag, bytes, mediaType);
      return sha(bytes);
    },
    digest: (repository, tag) => {
      const found = manifests.get(`${repository}@${tag}`);
      return found === undefined ? undefined : sha(found.bytes);
    },
    empty: () => {
      blobs.clear();
      manifests.clear();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of request) parts.push(part as Uint8Array);
  return Buffer.concat(parts);
}
