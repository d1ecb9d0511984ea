import { describe, expect, it } from "vitest";
import { jsonLines } from "./json-lines.ts";

async function read(...chunks: string[]): Promise<unknown[]> {
  const values: unknown[] = [];
  const source = (async function* () {
    for (const chunk of chunks) yield Buffer.from(chunk, "latin1");
  })();
  for await (const value of jsonLines(source)) values.push(value);
  return values;
}

describe("jsonLines()", () => {
  it("reads lines however they are cut", async () => {
    const text = '{"a":1}\n\n[2]\n"x"\n';
    for (let cut = 0; cut <= text.length; cut++) expect(await read(text.slice(0, cut), text.slice(cut))).toEqual([{ a: 1 }, [2], "x"]);
  });

  it("reads characters that are cut in the middle", async () => {
    const text = Buffer.from('"ä€"\n').toString("latin1");
    for (let cut = 0; cut <= text.length; cut++) expect(await read(text.slice(0, cut), text.slice(cut))).toEqual(["ä€"]);
  });

  it("drops a last line that a broken connection left", async () => {
    expect(await read('{"a":1}\n{"b":')).toEqual([{ a: 1 }]);
  });

  it("refuses what is not JSON, and a line without an end in sight", async () => {
    await expect(read("<html>\n")).rejects.toMatchObject({ code: "KUBE_UNAVAILABLE" });
    await expect(read(...Array.from({ length: 17 }, () => "x".repeat(1 << 20)))).rejects.toMatchObject({ code: "KUBE_UNAVAILABLE" });
  });
});
