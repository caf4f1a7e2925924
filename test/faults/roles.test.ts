import { testStage } from './stage.ts'

testStage('roles')
