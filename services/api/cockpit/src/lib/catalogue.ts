/** The catalogue as the page uses it: labels, units and values of every kind, all from the API. */
import { shallowRef } from 'vue'
import type { Catalogue, Device, Kind, Metric } from '../api/types'
import { say, t } from '../i18n'
import { figure, number } from './format'

const catalogue = shallowRef<Catalogue | null>(null)
const kinds = shallowRef<ReadonlyMap<string, Kind>>(new Map())

export function setCatalogue(value: Catalogue): void {
  catalogue.value = value
  kinds.value = new Map(value.kinds.map((kind) => [kind.name, kind]))
}

export function kindOf(name: string): Kind | undefined {
  return kinds.value.get(name)
}

export const allKinds = () => [...kinds.value.keys()]

export function kindLabel(name: string): string {
  return say(kinds.value.get(name)?.label) || name
}

export function kindNames(): readonly string[] {
  return [...kinds.value.keys()]
}

/** One character that stands for the kind on the plan. */
export function kindInitial(name: string): string {
  return [...(kinds.value.get(name)?.label.zh ?? name)][0] ?? '?'
}

function labelOf(list: 'severities' | 'teams' | 'roles', name: string): string {
  return say(catalogue.value?.[list].find((one) => one.name === name)?.label) || name
}

export const severityLabel = (name: string) => labelOf('severities', name)
export const teamLabel = (name: string) => labelOf('teams', name)
export const roleLabel = (name: string) => labelOf('roles', name)

export function eventLabel(kind: string, event: string): string {
  return say(kinds.value.get(kind)?.events.find((one) => one.name === event)?.label) || event
}

export interface Shown {
  metric: Metric
  label: string
  text: string
  unit: string
}

/** What the device last sent, in the catalogue's order and words. */
export function shownValues(device: Device): Shown[] {
  const kind = kinds.value.get(device.kind)
  if (!kind) return []
  return kind.metrics.flatMap((metric) => {
    const value = device.values[metric.name]
    if (value === undefined) return []
    return [{ metric, label: say(metric.label), ...valueText(metric, value) }]
  })
}

export function valueText(metric: Metric, value: number): { text: string; unit: string } {
  if (metric.type === 'switch') return { text: value ? t('on') : t('off'), unit: '' }
  if (metric.type === 'state') return { text: metric.options[value] ?? number(value), unit: '' }
  return { text: metric.type === 'counter' ? number(value, 3) : figure(value), unit: metric.unit }
}

export function fieldTeams(): { name: string; label: string }[] {
  return (catalogue.value?.teams ?? []).map((team) => ({ name: team.name, label: say(team.label) }))
}

export function kindsOfSystem(system: string): ReadonlySet<string> {
  return new Set(
    (catalogue.value?.kinds ?? []).filter((kind) => kind.system === system).map((kind) => kind.name),
  )
}

/** What a metric is called, whichever kind of device has it. */
export function metricNamed(name: string): string {
  for (const kind of kinds.value.values()) {
    const found = kind.metrics.find((one) => one.name === name)
    if (found) return say(found.label)
  }
  return name
}
