/** The report of a shift: sums, a table for a spreadsheet, a picture for a chat. */
import type { components } from '../../api/schema'
import { named, say, t } from '../../i18n'
import { severityLabel, teamLabel } from '../../lib/catalogue'
import { moment } from '../../lib/format'
import { SEVERITIES } from '../../lib/severity'

export type ReportOrder = components['schemas']['OrderOut']

const ENDED: ReadonlySet<string> = new Set(['closed', 'cancelled', 'false_alarm', 'merged'])

export function summary(orders: readonly ReportOrder[]): [string, number][] {
  const count = (test: (order: ReportOrder) => boolean) => orders.filter(test).length
  return [
    [t('report_opened'), orders.length],
    ...SEVERITIES.map((severity): [string, number] => [
      severityLabel(severity),
      count((order) => order.severity === severity),
    ]),
    [t('report_ended'), count((order) => ENDED.has(order.state))],
    [t('report_open'), count((order) => !ENDED.has(order.state))],
  ]
}

/** A cell that no spreadsheet takes for a formula. */
export function cell(value: unknown): string {
  const text = value === null || value === undefined ? '' : String(value)
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

function row(order: ReportOrder): string[] {
  return [
    String(order.number),
    severityLabel(order.severity),
    say(order.title),
    order.place,
    named('', order.state),
    teamLabel(order.team),
    order.assignee ?? '',
    order.created_at,
  ]
}

export function asCsv(orders: readonly ReportOrder[]): string {
  const head = [
    'report_number',
    'report_severity',
    'report_title',
    'report_place',
    'report_state',
    'team',
    'report_who',
    'report_at',
  ] as const
  const lines = [head.map((word) => t(word)), ...orders.map(row)]
  return lines.map((line) => line.map(cell).join(',')).join('\r\n') + '\r\n'
}

const WIDTH = 1080
const LINE = 34
const SHOWN = 40

/** White paper, black ink: it is read on any phone. */
export function draw(title: string, orders: readonly ReportOrder[]): HTMLCanvasElement {
  const shown = orders.slice(0, SHOWN)
  const canvas = document.createElement('canvas')
  canvas.width = WIDTH
  canvas.height = 190 + LINE * (shown.length + 1)
  const ink = canvas.getContext('2d')
  if (!ink) return canvas
  const font = getComputedStyle(document.body).fontFamily
  ink.fillStyle = '#ffffff'
  ink.fillRect(0, 0, canvas.width, canvas.height)
  ink.fillStyle = '#171b1e'
  ink.font = `600 30px ${font}`
  ink.fillText(title, 40, 60)
  let x = 40
  for (const [label, count] of summary(orders)) {
    ink.font = `600 34px ${font}`
    ink.fillText(String(count), x, 120)
    ink.font = `18px ${font}`
    ink.fillText(label, x, 148)
    x += 140
  }
  ink.font = `18px ${font}`
  shown.forEach((order, at) => {
    const y = 200 + LINE * at
    const cells = [
      moment(order.created_at, 0),
      severityLabel(order.severity),
      say(order.title),
      order.place,
      named('', order.state),
    ]
    const columns = [40, 190, 270, 640, 930]
    cells.forEach((text, place) => {
      const from = columns[place] ?? 40
      ink.fillText(text, from, y, (columns[place + 1] ?? WIDTH - 20) - from - 12)
    })
  })
  if (orders.length > shown.length) {
    ink.fillText(t('report_more', { n: orders.length - shown.length }), 40, 200 + LINE * shown.length)
  }
  return canvas
}
