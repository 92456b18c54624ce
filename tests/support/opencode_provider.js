// A provider for OpenCode whose model is a claude that it spawns, one for each model call. Like
// known ones, it says neither to claude nor in its environment which session is asking.

import { spawn } from "node:child_process"

const STREAM_JSON = ["--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]
const USAGE = { inputTokens: { total: 1 }, outputTokens: { total: 1 } }

export function createClaude() {
  return { languageModel: (modelId) => model(modelId) }
}

function model(modelId) {
  return {
    specificationVersion: "v3",
    provider: "claude",
    modelId,
    supportedUrls: {},
    async doStream({ prompt, tools }) {
      const [reason, ...parts] = await turn(prompt, tools)
      const all = [
        { type: "stream-start", warnings: [] },
        ...parts,
        { type: "finish", finishReason: { unified: reason, raw: reason }, usage: USAGE },
      ]
      const stream = new ReadableStream({
        start(controller) {
          for (const part of all) controller.enqueue(part)
          controller.close()
        },
      })
      return { stream }
    },
  }
}

// What the model does: told to "let NAME hear WORDS", it has those subagents told these words, all
// at once; else it answers what claude answers.
async function turn(prompt, tools) {
  if (prompt.at(-1).role === "tool") return ["stop", ...text("all of them are done")]
  const told = said(prompt)
  const tasks = [...told.matchAll(/let (\w+) hear ([\w ]+)/g)]
  if (tools?.length && tasks.length) return ["tool-calls", ...tasks.map(task)]
  return ["stop", ...text(await ask(told))]
}

// Everything the user has said since the last answer.
function said(prompt) {
  const since = prompt.slice(prompt.findLastIndex(({ role }) => role === "assistant") + 1)
  const users = since.filter(({ role }) => role === "user")
  return users.flatMap(({ content }) => content.map((part) => part.text)).join("\n")
}

function task([, subagent_type, prompt], index) {
  const input = JSON.stringify({ description: "a task", prompt, subagent_type })
  return { type: "tool-call", toolCallId: `call_${Date.now()}_${index}`, toolName: "task", input }
}

function text(delta) {
  const id = "1"
  return [
    { type: "text-start", id },
    { type: "text-delta", id, delta },
    { type: "text-end", id },
  ]
}

// The provider has something else to do before it spawns, as known ones do: here it waits until
// this many calls have come, so that each is between OpenCode's hooks and its claude at once.
const AT_ONCE = Number(process.env.CALLS_AT_ONCE ?? 1)
const gathered = []

async function ask(told) {
  await new Promise((go) => gathered.push(go) < AT_ONCE || gathered.splice(0).forEach((go) => go()))
  const claude = spawn("claude", STREAM_JSON, { stdio: ["pipe", "pipe", "inherit"] })
  const content = [{ type: "text", text: told }]
  claude.stdin.end(JSON.stringify({ type: "user", message: { role: "user", content } }) + "\n")
  let output = ""
  claude.stdout.on("data", (data) => (output += data))
  await new Promise((ended) => claude.on("close", ended))
  const messages = output.trim().split("\n").map((line) => JSON.parse(line))
  return messages.find(({ type }) => type === "result").result
}
