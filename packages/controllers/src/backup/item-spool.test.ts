import { expect, it } from "vitest";
import { createDiskSpool } from "./item-spool.ts";

it("gives back each object as it was put aside, in any order", async () => {
  const spool = await createDiskSpool();
  try {
    const objects = Array.from({ length: 50 }, (_, index) => ({ kind: "ConfigMap", metadata: { name: `c-${index}` }, data: { text: "ä".repeat(index * 7) } }));
    const places = [];
    for (const object of objects) places.push(await spool.add(object));
    for (const [index, place] of [...places.entries()].reverse()) expect(await spool.read(place)).toEqual(objects[index]);
  } finally {
    await spool.dispose();
  }
});

it("says what is wrong with the disk", async () => {
  const spool = await createDiskSpool();
  const place = await spool.add({ kind: "ConfigMap", metadata: { name: "c" } });
  await spool.dispose();
  await expect(spool.read(place)).rejects.toMatchObject({ code: "PATH_IO", message: expect.stringMatching(/^Cannot put the items of a backup aside in ".*"/) });
});
