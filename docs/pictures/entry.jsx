// Draws one or more messages as Slack shows them. What slack-blocks-to-jsx 1.1.1 draws is left to
// it, but for its faults: it draws nothing for a data_table and fails on raw_number cells, so tables
// are drawn here; it takes `verbatim`, which keeps Slack from making links, for "no formatting"; and
// it changes signs inside fenced code, which is handed to it as preformatted text instead; and it
// makes code of back-ticks in plain text, where Slack shows them.
import '@fontsource/lato/400.css'
import '@fontsource/lato/700.css'
import '@fontsource/lato/900.css'
import '@fontsource/dejavu-mono/400.css'
import { Component, useLayoutEffect, useRef, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { Message } from 'slack-blocks-to-jsx'
import 'slack-blocks-to-jsx/dist/style.css'
import './page.css'

// One block that can't be drawn must not take the page with it, nor go unseen.
class Guard extends Component {
  state = { error: null }

  static getDerivedStateFromError(error) {
    return { error }
  }

  componentDidCatch(error) {
    document.documentElement.dataset.failed = `${this.props.type}: ${error.message}`
  }

  render() {
    return this.state.error ? <p className="failed">{this.props.type} could not be drawn</p> : this.props.children
  }
}

const formatted = (value) => {
  if (Array.isArray(value)) return value.map(formatted)
  if (value === null || typeof value !== 'object') return value
  if (value.type === 'plain_text') return { ...value, text: value.text.replaceAll('`', 'ˋ') }
  const kept = Object.entries(value).filter(([key]) => key !== 'verbatim')
  return Object.fromEntries(kept.map(([key, part]) => [key, formatted(part)]))
}

const numeric = (rows, column) => rows.slice(1).some((row) => row[column]?.type === 'raw_number')

function DataTable({ block }) {
  const [header, ...rows] = block.rows
  const page = block.page_size ?? rows.length
  const longest = (column) => Math.max(...rows.map((row) => row[column].text.length))
  const side = header.map((_, column) =>
    numeric(block.rows, column) ? 'right' : longest(column) > 24 ? 'left long' : 'left')
  const box = useRef(null)
  const [wide, setWide] = useState(false)
  useLayoutEffect(() => {
    const measure = () => setWide(box.current.scrollWidth > box.current.clientWidth + 1)
    measure()
    document.fonts.ready.then(measure)
  }, [])
  return (
    <figure className={wide ? 'data-table wide' : 'data-table'}>
      <figcaption>{block.caption}</figcaption>
      <div className="scroll" ref={box}>
        <table>
          <thead>
            <tr>{header.map((cell, i) => <th key={i} className={side[i]}>{cell.text} <i>⇅</i></th>)}</tr>
          </thead>
          <tbody>
            {rows.slice(0, page).map((row, y) => (
              <tr key={y}>{row.map((cell, i) => <td key={i} className={side[i]}>{cell.text}</td>)}</tr>
            ))}
          </tbody>
        </table>
      </div>
      <div className="pager">
        <span>1–{Math.min(page, rows.length)} of {rows.length} · a heading sorts{wide && ' · scrolls sideways →'}</span>
        {rows.length > page && <span className="pages">‹ 1 / {Math.ceil(rows.length / page)} ›</span>}
      </div>
    </figure>
  )
}

const FENCED = /^([^]*?)\n```\n([^]*)\n```$/
const unescaped = (text) => text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')

function fenced(block) {
  const found = block.type === 'section' && FENCED.exec(block.text?.text ?? '')
  if (!found) return [block]
  const code = { type: 'rich_text_preformatted', elements: [{ type: 'text', text: unescaped(found[2]) }] }
  return [{ ...block, text: { type: 'mrkdwn', text: found[1] } }, { type: 'rich_text', elements: [code] }]
}

function Block({ block }) {
  if (block.type === 'data_table') return <DataTable block={block} />
  return <Message blocks={[formatted(block)]} name="" logo="" theme="light" withoutWrapper />
}

function Files({ files }) {
  return files.map((file) =>
    file.src
      ? <figure key={file.name} className="file"><figcaption>{file.title} <i>▾</i></figcaption><img src={file.src} alt={file.alt} /></figure>
      : <p key={file.name} className="sheet"><b>{file.name.split('.').pop().toUpperCase()}</b><span>{file.title}<br /><i>{file.name}</i></span></p>
  )
}

function Post({ message }) {
  return (
    <article className={message.ephemeral ? 'post ephemeral' : 'post'}>
      {message.ephemeral && <p className="only">Only visible to you</p>}
      <span className="logo">☀</span>
      <div className="body">
        <p className="who"><b>Daybreak</b><em>APP</em><time>9:00 AM</time></p>
        {message.blocks.length
          ? message.blocks.flatMap(fenced).map((block, i) => <Guard key={i} type={block.type}><Block block={block} /></Guard>)
          : <Block block={{ type: 'section', text: { type: 'mrkdwn', text: message.text } }} />}
        {message.files.length > 0 && (
          <div className="thread">
            <p className="replies">1 reply{message.ephemeral ? ', in your direct messages' : ' in thread'}</p>
            <Files files={message.files} />
          </div>
        )}
      </div>
    </article>
  )
}

// Modals and App Home are drawn here: slack-blocks-to-jsx draws messages.
const shownIn = (element, typed) => {
  if (typed !== undefined) return typed
  if (element.type.endsWith('select')) return element.initial_option?.text.text
  return element.initial_value
}

function Control({ element, typed, wrong }) {
  const text = shownIn(element, typed)
  const kind = element.type.endsWith('select') ? 'select' : 'line'
  return (
    <div className={`control ${kind}${wrong ? ' wrong' : ''}`}>
      <span className={text ? '' : 'empty'}>{text || element.placeholder?.text || ' '}</span>
      {kind === 'select' && <i>▾</i>}
    </div>
  )
}

function Field({ block, typed, error }) {
  return (
    <div className="field">
      <p className="label">{block.label.text}{block.optional && <i> (optional)</i>}</p>
      <Control element={block.element} typed={typed} wrong={Boolean(error)} />
      {error && <p className="error">⚠ {error}</p>}
      {block.hint && <p className="hint">{block.hint.text}</p>}
    </div>
  )
}

function Beside({ block }) {
  const { accessory, ...section } = block
  return (
    <div className="beside">
      <div><Block block={section} /></div>
      {accessory.type === 'button' ? <button>{accessory.text.text}</button> : <Control element={accessory} />}
    </div>
  )
}

const ofView = (block, i) =>
  <Guard key={i} type={block.type}>{block.accessory ? <Beside block={block} /> : <Block block={block} />}</Guard>

function Modal({ view, errors, typed }) {
  return (
    <section className="modal">
      <header><span className="logo">☀</span><b>{view.title.text}</b><i>✕</i></header>
      <div className="fields">
        {view.blocks.map((block, i) => block.type === 'input'
          ? <Field key={i} block={block} typed={typed[block.block_id]} error={errors[block.block_id]} />
          : ofView(block, i))}
      </div>
      <footer><button>{view.close.text}</button>{view.submit && <button className="primary">{view.submit.text}</button>}</footer>
    </section>
  )
}

function Tabs({ open, children }) {
  return (
    <section className="app">
      <header><span className="logo">☀</span><b>Daybreak</b></header>
      <nav>{['Home', 'Messages', 'About'].map((tab) => <span key={tab} className={tab === open ? 'open' : ''}>{tab}</span>)}</nav>
      {children}
    </section>
  )
}

const Home = ({ view }) => <Tabs open="Home"><div className="home">{view.blocks.map(ofView)}</div></Tabs>

function Prompts({ title, prompts, about }) {
  return (
    <Tabs open="Messages">
      <div className="prompts">
        <span className="logo">☀</span>
        <p className="who"><b>Daybreak</b><em>APP</em></p>
        <p>{about}</p>
        <p className="label">{title}</p>
        {prompts.map((prompt) => <p key={prompt.title} className="prompt">{prompt.title}</p>)}
      </div>
      <p className="composer">Message Daybreak</p>
    </Tabs>
  )
}

const KINDS = { modal: Modal, home: Home, prompts: Prompts }

function Piece({ piece }) {
  const Kind = KINDS[piece.kind]
  return Kind ? <Kind {...piece} /> : <Post message={piece} />
}

createRoot(document.getElementById('root')).render(window.MESSAGES.map((piece, i) => <Piece key={i} piece={piece} />))
