// The page. It shows what the application sends, and posts what the user does. What others write is never treated as HTML.

/** Messages kept of each conversation. */
const MAX_LINES = 300
const STATES = {
  starting: 'Going online…',
  online: 'Online',
  retrying: 'Not online',
  untrusted: 'Not online',
  stopped: 'Offline',
  gone: 'Not running'
}
const STATUSES = { calling: 'Connecting…', closed: 'Not connected' }

const $ = (id) => document.getElementById(id)
let people = []
let state = { name: 'starting', text: '' }
let tracker = { isConnected: false, text: '' }
/** By e-mail address. */
const conversations = new Map()
let selected

/** What to do with each event from the application. */
const events = {
  start() {
    conversations.clear()
    showNotice('')
  },
  me({ email, tracker, fingerprint }) {
    document.title = email
    $('me').textContent = email
    $('tracker').title = tracker
    $('fingerprint').textContent = fingerprint
  },
  state(event) {
    state = event
    showState()
  },
  tracker(event) {
    tracker = event
    showState()
  },
  people(event) {
    people = event.people
    $('more').textContent = event.more > 0 ? `and ${event.more} more. To chat with them, enter an address.` : ''
    showPeople()
  },
  conversation(event) {
    Object.assign(find(event.email), { problem: undefined }, event)
    showPeople()
    if (event.email === selected) showConversation()
  },
  line(line) {
    const conversation = find(line.email)
    conversation.lines.push(line)
    if (conversation.lines.length > MAX_LINES) conversation.lines.shift()
    if (line.email === selected) showLine(line)
    else if (line.from === 'peer' && !conversation.isUnread) {
      conversation.isUnread = true
      showPeople()
    }
  },
  forgotten({ email }) {
    conversations.delete(email)
    showPeople()
  },
  notice: ({ text }) => showNotice(text)
}

const source = new EventSource('events')
source.onmessage = ({ data }) => {
  const event = JSON.parse(data)
  events[event.type]?.(event)
}
source.onerror = () => {
  state = { name: 'gone', text: 'The application has ended. Start it again, and open its new page.' }
  showState()
}

$('call').onsubmit = (event) => {
  event.preventDefault()
  const email = event.target.elements.email.value.trim().toLowerCase()
  event.target.reset()
  choose(email)
}
$('say').onsubmit = async (event) => {
  event.preventDefault()
  const input = event.target.elements.text
  if (await act('say', { email: selected, text: input.value })) input.value = ''
}
$('again').onclick = () => act('call', { email: selected })
$('hang-up').onclick = () => act('hang-up', { email: selected })
$('go-online').onclick = () => act('go-online')
$('trust').onclick = async () => {
  const { email, problem } = find(selected)
  const fingerprint = problem.presented // even if the page shows another when the user answers
  $('who').textContent = email
  $('new').textContent = fingerprint
  $('sure').returnValue = 'no'
  $('sure').showModal()
  await new Promise((resolve) => $('sure').addEventListener('close', resolve, { once: true }))
  if ($('sure').returnValue === 'yes') act('trust', { email, fingerprint })
}
setInterval(showState, 1000) // counts down to the next attempt

/** Tells the application to do something. @returns whether it has */
async function act(name, body = {}) {
  try {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(name, { method: 'POST', headers, body: JSON.stringify(body) })
    showNotice(response.ok ? '' : (await response.json()).error)
    return response.ok
  } catch {
    return false // the event source says so
  }
}

function choose(email) {
  selected = email
  find(email).isUnread = false
  showPeople()
  showConversation()
  $('lines').replaceChildren()
  for (const line of find(email).lines) showLine(line)
  act('call', { email })
  $('say').elements.text.focus()
}

function find(email) {
  if (!conversations.has(email)) conversations.set(email, { email, status: 'closed', lines: [], isUnread: false })
  return conversations.get(email)
}

function showState() {
  const { name, text, nextAttempt } = state
  const seconds = Math.max(0, Math.ceil((nextAttempt - Date.now()) / 1000))
  $('next').textContent = nextAttempt ? `Next attempt in ${seconds} s.` : ''
  set($('state'), text === '' ? STATES[name] : `${STATES[name]}: ${text}`)
  $('state').dataset.name = name
  $('go-online').hidden = name !== 'stopped'
  const isStale = name === 'online' && !tracker.isConnected && tracker.text !== ''
  set(
    $('tracker'),
    isStale ? `The list may be out of date: ${tracker.text} You can still call people you have chatted with.` : ''
  )
}

/** Screen readers do not read out again what has not changed. */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text
}

function showPeople() {
  const online = new Map(people.map(({ email, isOnline }) => [email, isOnline]))
  const emails = [...new Set([...online.keys(), ...conversations.keys()])].sort()
  $('people').replaceChildren(
    ...emails.map((email) => {
      const item = document.createElement('li')
      const button = document.createElement('button')
      button.textContent = email
      button.title = online.get(email) ? `${email} is online` : `${email} is not online`
      button.onclick = () => choose(email)
      if (email === selected) button.setAttribute('aria-current', 'true')
      item.toggleAttribute('data-online', online.get(email) === true)
      item.toggleAttribute('data-unread', conversations.get(email)?.isUnread === true)
      item.append(button)
      return item
    })
  )
}

function showConversation() {
  const { email, status, fingerprint, problem } = find(selected)
  $('nobody').hidden = true
  $('conversation').hidden = false
  $('with').textContent = email
  $('status').textContent = status === 'connected' ? `Connected, and verified: ${fingerprint}` : STATUSES[status]
  $('status').dataset.name = status
  $('hang-up').hidden = status === 'closed'
  $('again').hidden = status !== 'closed'
  for (const element of $('say').elements) element.disabled = status !== 'connected'
  $('problem').hidden = !problem
  $('what').textContent = problem?.text
  $('attempts').replaceChildren(...(problem?.attempts ?? []).map((text) => withText('li', text)))
  $('changed').hidden = !problem?.presented
  $('known').textContent = problem?.known
  $('presented').textContent = problem?.presented
}

function showLine({ from, text, at }) {
  const lines = $('lines')
  const isAtEnd = lines.scrollTop + lines.clientHeight > lines.scrollHeight - 50
  const item = withText('li', text)
  item.className = from
  item.dir = 'auto'
  const hours = new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
  item.append(withText('time', hours))
  lines.append(item)
  if (lines.childElementCount > MAX_LINES) lines.firstElementChild.remove()
  if (isAtEnd) lines.scrollTop = lines.scrollHeight
}

function withText(name, text) {
  const element = document.createElement(name)
  element.textContent = text
  return element
}

function showNotice(text) {
  $('notice').textContent = text
}
