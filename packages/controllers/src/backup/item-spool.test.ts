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

it("gives back objects that are larger than what goes to the disk at once, between small ones", async () => {
  const spool = await createDiskSpool();
  try {
    const objects = [10, 300_000, 10, 700_000, 200_000, 200_000, 10].map((length, index) => ({
      kind: "ConfigMap",
      metadata: { name: `c-${index}` },
      data: { text: "ä".repeat(length) },
    }));
    const places = [];
    for (const object of objects) places.push(await spool.add(object));
    for (const order of [
      [0, 1, 2, 3, 4, 5, 6],
      [6, 3, 0, 5, 1, 4, 2],
    ])
      for (const index of order) expect(await spool.read(places[index] ?? { offset: 0, lengthBytes: 0 })).toEqual(objects[index]);
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
