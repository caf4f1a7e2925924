/**
 * SQL that comes to its end when the guard has seen the session that runs it: each of three times a look of the watch
 * began later than the one before, so one of its two connections has begun two and dealt with the first. It asks again
 * and again, and fails after half a minute. Other guards of the same server do not count; and a look counts only when it
 * waits between two pictures, because each message until then (parse, bind, execute) sets its time anew.
 */
export const untilSeen = `DO $$
DECLARE mark timestamptz; began timestamptz := clock_timestamp();
BEGIN
  FOR look IN 1..3 LOOP
    mark := clock_timestamp();
    WHILE NOT EXISTS (
      SELECT FROM pg_stat_activity WHERE application_name = 'pgproof guard ' || current_database()
         AND query_start > mark AND wait_event = 'PgSleep'
    ) LOOP
      PERFORM pg_stat_clear_snapshot();
      IF clock_timestamp() > began + interval '30 seconds' THEN RAISE EXCEPTION 'nobody looked'; END IF;
    END LOOP;
  END LOOP;
END $$`
