// The page's server, for this user of this computer only. In Electron, a BrowserWindow and its IPC replace this file.
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const HOST = '127.0.0.1'
const FILES = {
  '': ['page.html', 'text/html'],
  'page.js': ['page.js', 'text/javascript'],
  'page.css': ['page.css', 'text/css']
}
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}
/** Bytes of an action. */
const MAX_BODY = 64 * 1024
/** Bytes that a page has not read yet. A page that reads too slowly is disconnected, and starts again with a snapshot. */
const MAX_UNREAD = 8 * 1024 * 1024

/**
 * Serves the page at a URL that nobody can guess.
 *
 * @param snapshot returns the events for a newly opened page
 * @param actions functions by name, called with what the page posts
 */
export async function servePage({ snapshot, actions }) {
  const token = randomBytes(24).toString('base64url')
  const pages = new Set()
  let host

  const server = createServer(async (request, response) => {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value)
    const [, given = '', name] = request.url.split('/')
    // `Host` gives away another site whose name was pointed at this address (DNS rebinding).
    if (request.headers.host !== host || !isEqual(given, token)) return answer(response, 404)
    if (request.method === 'POST') return act(request, response, name)
    if (name === 'events') return follow(response)
    if (request.method !== 'GET' || !Object.hasOwn(FILES, name)) return answer(response, 404)
    const [file, type] = FILES[name]
    response.setHeader('content-type', `${type}; charset=utf-8`)
    response.end(readFileSync(new URL(file, import.meta.url)))
  })

  async function act(request, response, name) {
    const { origin, 'content-type': type } = request.headers
    if (origin !== `http://${host}` || type !== 'application/json') return answer(response, 403)
    if (!Object.hasOwn(actions, name)) return answer(response, 404)
    try {
      await actions[name](JSON.parse(await readBody(request)))
      answer(response, 204)
    } catch (error) {
      answer(response, 400, { error: error.message })
    }
  }

  function follow(response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const event of snapshot()) write(response, event)
    pages.add(response)
    response.on('close', () => pages.delete(response))
  }

  await once(server.listen(0, HOST), 'listening')
  host = `${HOST}:${server.address().port}`
  return {
    url: `http://${host}/${token}/`,

    /** Sends an event to every open page. */
    tell(event) {
      for (const response of pages) {
        write(response, event)
        if (response.writableLength > MAX_UNREAD) response.destroy() // the browser connects again
      }
    },

    close() {
      server.close()
      server.closeAllConnections()
    }
  }
}

function isEqual(given, token) {
  const [a, b] = [Buffer.from(given), Buffer.from(token)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function write(response, event) {
  response.write(`data: ${JSON.stringify(event)}\n\n`)
}

function answer(response, status, body) {
  if (body) response.setHeader('content-type', 'application/json')
  response.writeHead(status).end(body && JSON.stringify(body))
}

async function readBody(request) {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk
    if (text.length > MAX_BODY) throw new Error('That is too long.')
  }
  return text
}
