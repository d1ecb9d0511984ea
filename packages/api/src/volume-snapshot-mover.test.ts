import { describe, expect, it } from "vitest";
import { loadCrds } from "./crds.ts";
import { parseResticRepository } from "./volume-snapshot-mover.ts";

describe("the address of a restic repository", () => {
  it.each([
    ["s3:https://minio.example.com:9000/bucket/openshift-adp/backup-1/snapcontent-1-pvc", "bucket", "openshift-adp/backup-1/snapcontent-1-pvc"],
    ["s3:http://10.0.0.1:9000/bucket/openshift-adp/snapcontent-1-pvc/", "bucket", "openshift-adp/snapcontent-1-pvc"],
    ["s3:s3.amazonaws.com/bucket/a/b", "bucket", "a/b"],
    ["s3://s3.amazonaws.com/bucket/a//b", "bucket", "a/b"],
    ["s3:s3.amazonaws.com/bucket", "bucket", ""],
    ["gs:bucket:/openshift-adp/backup-1/x-pvc", "bucket", "openshift-adp/backup-1/x-pvc"],
    ["azure:container:/openshift-adp/x-pvc", "container", "openshift-adp/x-pvc"],
    ["s3:host/bucket/a/../../b", "bucket", "b"],
  ])("%s is folder %s of bucket %s", (url, bucket, path) => expect(parseResticRepository(url)).toEqual({ bucket, path }));

  it.each(["", "s3:", "s3:host", "s3:https://host/", "/srv/repository", "rest:https://host/", "gs:bucket"])("%j is refused", (url) =>
    expect(() => parseResticRepository(url)).toThrow("s3:host/bucket/path, gs:bucket:/path or azure:container:/path is wanted"),
  );
});

it("the kinds of OADP's first data mover are defined with their status as a resource of its own", () => {
  const definitions = loadCrds("datamover.oadp.openshift.io");
  expect(definitions.map(({ spec }) => spec.names.plural)).toEqual(["volumesnapshotbackups", "volumesnapshotrestores"]);
  for (const { spec } of definitions)
    expect((spec["versions"] as { name: string; subresources: unknown }[])[0]).toMatchObject({ name: "v1alpha1", subresources: { status: {} } });
});
