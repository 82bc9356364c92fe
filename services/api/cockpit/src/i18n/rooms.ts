/** Teaches the words of the rooms behind the cockpit. */
import { ACCESS } from './areas/access'
import { DESK } from './areas/desk'
import { PEOPLE } from './areas/people'
import { REGISTRY } from './areas/registry'
import { teach } from './words'

teach({ ...REGISTRY, ...PEOPLE, ...ACCESS, ...DESK })
