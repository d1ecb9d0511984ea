import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { collect } from "../contract/collect.ts";
import type { S3Options } from "./s3-options.ts";
import { openS3Storage } from "./s3-storage.ts";

const version = (key: string, id: string, time: string, latest = false): string =>
  `<Version><Key>pre/${key}</Key><VersionId>${id}</VersionId><IsLatest>${latest}</IsLatest><LastModified>2026-05-01T${time}Z</LastModified><Size>${id.length}</Size></Version>`;
const deletion = (key: string, time: string): string =>
  `<DeleteMarker><Key>pre/${key}</Key><VersionId>d</VersionId><IsLatest>true</IsLatest><LastModified>2026-05-01T${time}Z</LastModified></DeleteMarker>`;

/** p1 was replaced at noon, p2 deleted then, p3 deleted before and written again after, p4 is new; p5's versions lie on two pages. */
const PAGES = [
  `<IsTruncated>true</IsTruncated><NextKeyMarker>pre/p5</NextKeyMarker><NextVersionIdMarker>v5new</NextVersionIdMarker>
   ${version("p1", "v1ransom", "12:00:01.000", true)}${version("p1", "v1", "09:00:00.000")}${version("p2", "v2", "09:00:00.000")}
   ${version("p3", "v3again", "13:00:00.000", true)}${version("p3", "v3", "08:00:00.000")}${version("p4", "v4", "12:30:00.000", true)}${version("p5", "v5new", "13:00:00.000", true)}
   ${deletion("p2", "12:00:01.000")}<DeleteMarker><Key>pre/p3</Key><VersionId>d3</VersionId><IsLatest>false</IsLatest><LastModified>2026-05-01T10:00:00.000Z</LastModified></DeleteMarker>`,
  `<IsTruncated>false</IsTruncated>${version("p5", "v5older", "11:00:00.000")}${version("p5", "v5oldest", "10:00:00.000")}`,
];

let server: Server;
let options: S3Options;
let asked: string[];

beforeEach(async () => {
  asked = [];
  server = createServer((request, response) => {
    const url = new URL(request.url ?? "", "http://x");
    asked.push(`${request.method} ${url.pathname}${url.search}`);
    request.resume();
    if (url.searchParams.has("versions")) {
      const prefix = url.searchParams.get("prefix") ?? "";
      const page = url.searchParams.has("key-marker") ? PAGES[1] : PAGES[0];
      const wanted = (page ?? "").replace(/<(Version|DeleteMarker)>.*?<\/\1>/g, (entry) =>
        /<Key>(.*?)<\/Key>/.exec(entry)?.[1]?.startsWith(prefix) === true ? entry : "",
      );
      response.writeHead(200, { "content-type": "application/xml" }).end(`<ListVersionsResult>${wanted}</ListVersionsResult>`);
    } else {
      const body = url.searchParams.get("versionId") ?? "latest";
      response.writeHead(200, { "content-length": body.length }).end(body);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  options = { bucket: "bucket", prefix: "pre/", endpoint, credentials: { accessKeyId: "k", secretAccessKey: "s" }, pointInTimeMs: Date.UTC(2026, 4, 1, 12) };
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

describe("a bucket as it was", () => {
  it("lists what was there then, with the lengths and times of then", async () => {
    const past = await openS3Storage(options);
    expect(await collect(past.list(""))).toEqual([
      { id: "p1", length: 2, timestampMs: Date.UTC(2026, 4, 1, 9) },
      { id: "p2", length: 2, timestampMs: Date.UTC(2026, 4, 1, 9) },
      { id: "p5", length: 7, timestampMs: Date.UTC(2026, 4, 1, 11) },
    ]);
    await past.close();
  });

  it("reads the version of then, whatever was done to it since", async () => {
    const past = await openS3Storage(options);
    expect(Buffer.from(await past.get("p1")).toString()).toBe("v1");
    expect(Buffer.from(await past.get("p2")).toString()).toBe("v2");
    expect((await past.head("p5")).length).toBe(7);
    await expect(past.get("p3")).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
    await expect(past.head("p4")).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
    await past.close();
  });

  it("is only read", async () => {
    const past = await openS3Storage(options);
    for (const attempt of [past.put("p9", new Uint8Array()), past.delete("p1"), past.extendRetention("p1", { mode: "COMPLIANCE", untilMs: 0 })]) {
      await expect(attempt).rejects.toMatchObject({
        code: "NOT_SUPPORTED",
        message: expect.stringContaining("at 2026-05-01T12:00:00.000Z: the past is only read"),
      });
    }
    await past.close();
    expect(asked).toEqual([]);
  });
});
