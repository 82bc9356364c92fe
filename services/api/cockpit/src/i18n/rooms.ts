/** Teaches the words of the rooms behind the cockpit. */
import { ACCESS } from './areas/access'
import { CITY } from './areas/city'
import { COMMANDS } from './areas/commands'
import { DESK } from './areas/desk'
import { PEOPLE } from './areas/people'
import { REGISTRY } from './areas/registry'
import { teach } from './words'

teach({ ...REGISTRY, ...PEOPLE, ...ACCESS, ...DESK, ...COMMANDS, ...CITY })
