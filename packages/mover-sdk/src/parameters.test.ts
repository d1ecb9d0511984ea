import { describe, expect, it } from "vitest";
import { checkSchema, parseTextParameters, resolveParameters, textParameters } from "./parameters.ts";

const mover = {
  name: "m",
  parameters: {
    type: "object",
    properties: {
      level: { type: "integer", minimum: 1, maximum: 9, default: 3, description: "How hard it tries" },
      format: { type: "string", enum: ["raw", "qcow2"], description: "The file" },
      names: { type: "array", items: { type: "string" }, description: "Some" },
      fast: { type: "boolean", description: "Whether" },
    },
  },
};

describe("resolveParameters()", () => {
  it("fills in defaults, and takes texts for what the schema wants", () => {
    expect(resolveParameters(mover, { format: "raw", fast: "true" }, "claim a/b")).toEqual({ level: 3, format: "raw", fast: true });
    expect(resolveParameters(mover, { level: "9" }, "claim a/b")).toEqual({ level: 9 });
  });

  it.each<[given: Record<string, unknown>, message: string]>([
    [{ lvl: 3 }, '"lvl" is not a parameter'],
    [{ level: 10 }, 'parameter "level" must be <= 9'],
    [{ level: "high" }, 'parameter "level" must be integer'],
    [{ format: "vmdk" }, 'parameter "format" must be equal to one of the allowed values: "raw", "qcow2"'],
    [{ format: "vmdk", lvl: 1 }, "; "],
  ])("refuses %j", (given, message) => {
    expect(() => resolveParameters(mover, given, "claim a/b")).toThrow(
      expect.objectContaining({
        code: "VALIDATION_FAILED",
        message: expect.stringMatching(/^Cannot use parameters of claim a\/b with mover "m": /),
        hint: expect.stringContaining("level, format, names, fast"),
      }),
    );
    expect(() => resolveParameters(mover, given, "claim a/b")).toThrow(message);
  });

  it("leaves what it is given as it is", () => {
    const given = { format: "raw" };
    resolveParameters(mover, given, "x");
    expect(given).toEqual({ format: "raw" });
  });
});

it("parameters pass through a map of texts unchanged", () => {
  const parameters = { level: 4, format: "raw", names: ["a", 'b"'], fast: false };
  const texts = textParameters(parameters);
  expect(resolveParameters(mover, parseTextParameters(mover.parameters, texts), "x")).toEqual(parameters);
});

describe("checkSchema()", () => {
  it.each<[schema: unknown, problem: string]>([
    [undefined, "missing"],
    [{ type: "array" }, 'not "object"'],
    [{ type: "object", properties: { a: { type: "string" } } }, 'parameter "a" has no description'],
    [{ type: "object", properties: { a: { type: "string", description: "a", default: 1 } } }, 'the default of parameter "a" must be string'],
    [{ type: "object", properties: { a: { type: "text", description: "a" } } }, "not a JSON Schema"],
  ])("finds what is wrong with %j", (schema, problem) => {
    expect(checkSchema(schema).join("; ")).toContain(problem);
  });

  it("finds nothing wrong with a good one", () => {
    expect(checkSchema(mover.parameters)).toEqual([]);
  });
});
