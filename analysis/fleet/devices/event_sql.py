"""The SQL that counts events: one statement for the steps of many runs, one for their samples.

What is counted has one definition for all runs, whatever alerts they were watched with: settings differ from
run to run, and a run with a lower limit would have more "spikes".
"""

SPIKE = (
    "a gradient norm above 1.3 x the median of the 128 steps before it (20 at least) and above it by 6 "
    "robust standard deviations (interquartile range / 1.349); spikes within 10 steps are one"
)

# A rank's norm is its own where ranks differ at the same step; else it is the job's, counted once.
STEPS = """
WITH known AS (
    SELECT run_id, coalesce(rank, 0) AS rank, step, time_ns, seq, grad_norm, loss,
        coalesce(work_s, step_time_s) AS step_time_s
    FROM _steps LEFT JOIN (
        SELECT run_id, rank, step, max(value) AS work_s FROM _metrics WHERE name = 'work_time_s' GROUP BY ALL
    ) USING (run_id, rank, step)
), world AS (
    SELECT run_id, count(DISTINCT rank) AS ranks, min(rank) FILTER (grad_norm IS NOT NULL) AS lowest
    FROM known GROUP BY run_id
), peers AS (
    SELECT run_id, step, median(step_time_s) AS usual_s, count(step_time_s) AS timed,
        max(grad_norm) - min(grad_norm) > 1e-3 * max(abs(grad_norm)) AS differs
    FROM known JOIN world USING (run_id) WHERE ranks > 1 AND isfinite(coalesce(grad_norm, 0))
    GROUP BY run_id, step
), own AS (
    SELECT run_id, avg(CASE WHEN differs THEN 1 ELSE 0 END) > 0.5 AS is_own FROM peers
    WHERE differs IS NOT NULL GROUP BY run_id
), rows AS (
    SELECT run_id, rank, ranks, time_ns, seq, grad_norm, loss, step_time_s, usual_s, timed,
        coalesce(is_own, false) AS is_own, rank = lowest AS is_first
    FROM known JOIN world USING (run_id) LEFT JOIN own USING (run_id) LEFT JOIN peers USING (run_id, step)
), levels AS (
    SELECT run_id, rank, time_ns, seq, grad_norm,
        quantile_cont(grad_norm, [0.25, 0.5, 0.75]) OVER before AS q, count(*) OVER before AS n
    FROM rows WHERE isfinite(grad_norm) AND (is_own OR is_first)
    WINDOW before AS (
        PARTITION BY run_id, rank ORDER BY time_ns, seq ROWS BETWEEN 128 PRECEDING AND 1 PRECEDING
    )
), spikes AS (
    SELECT run_id, rank, time_ns, seq, n >= 20 AND grad_norm > 1.3 * q[2]
        AND grad_norm > q[2] + 6 * (q[3] - q[1]) / 1.349 AS found FROM levels
), flags AS (
    SELECT run_id, rank, 'spike' AS kind, time_ns, seq, found FROM spikes
    UNION ALL
    SELECT run_id, rank, 'nonfinite', time_ns, seq,
        NOT isfinite(grad_norm) OR (ranks = 1 AND NOT isfinite(loss))
    FROM rows WHERE (is_own OR is_first) AND coalesce(grad_norm, loss) IS NOT NULL
    UNION ALL
    SELECT run_id, rank, 'nonfinite_loss', time_ns, seq, NOT isfinite(loss)
    FROM rows WHERE ranks > 1 AND loss IS NOT NULL
    UNION ALL
    SELECT run_id, rank, 'slow_step', time_ns, seq, step_time_s > 1.1 * usual_s
    FROM rows WHERE timed >= 3 AND step_time_s IS NOT NULL
), onsets AS (
    SELECT run_id, rank, kind,
        coalesce(found, false) AND NOT coalesce(bool_or(found) OVER past, false) AS onset
    FROM flags
    WINDOW past AS (
        PARTITION BY run_id, rank, kind ORDER BY time_ns, seq ROWS BETWEEN 10 PRECEDING AND 1 PRECEDING
    )
)
SELECT run_id, kind, rank, kind IN ('slow_step', 'nonfinite_loss') OR any_value(is_own) AS is_own,
    count(*) FILTER (onset) AS events, CAST(count(*) AS DOUBLE) AS exposure
FROM onsets JOIN (SELECT DISTINCT run_id, is_own FROM rows) USING (run_id)
GROUP BY run_id, kind, rank
"""

# Onsets, not seconds: how long a device was throttled is no count, and its seconds follow each other.
_SPANS = """
WITH known AS (
    SELECT run_id, writer, device, time_ns, ecc_corrected + ecc_uncorrected AS ecc, clock_event_mask,
        coalesce(throttled_thermal_ns, 0) + coalesce(throttled_brake_ns, 0) AS throttled_ns,
        coalesce(throttled_thermal_ns, throttled_brake_ns) IS NOT NULL AS is_counted
    FROM _samples WHERE device IS NOT NULL AND device <> 'cpu'
), steps AS (
    SELECT *, (time_ns - lag(time_ns) OVER series) / 1e9 AS dt_s,
        ecc > lag(ecc) OVER series AS ecc_grew, ecc IS NOT NULL AS has_ecc,
        CASE WHEN is_counted THEN throttled_ns - lag(throttled_ns) OVER series > 1000000
            ELSE (clock_event_mask & 224) > 0 END AS is_throttled
    FROM known WINDOW series AS (PARTITION BY run_id, writer, device ORDER BY time_ns)
), spans AS (
    SELECT *, greatest(5, 5 * median(dt_s) OVER (PARTITION BY run_id, writer, device)) AS silent_s,
        max(CASE WHEN is_throttled THEN time_ns END) OVER (
            PARTITION BY run_id, writer, device ORDER BY time_ns
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS last_throttled_ns,
        max(time_ns) OVER (PARTITION BY run_id, writer) AS last_ns
    FROM steps
)"""
SAMPLES = f"""{_SPANS}, devices AS (
    SELECT run_id, writer, device, (max(last_ns) - min(time_ns)) / 1e9 AS exposure,
        count(*) FILTER (dt_s > silent_s)
            + CAST((max(last_ns) - max(time_ns)) / 1e9 > max(silent_s) AS BIGINT) AS silence,
        count(*) FILTER (ecc_grew) AS ecc, bool_or(has_ecc) AS has_ecc,
        count(*) FILTER (is_throttled AND time_ns - coalesce(last_throttled_ns, 0) > 30e9) AS throttled,
        count(is_throttled) > 0 AS has_throttled
    FROM spans GROUP BY run_id, writer, device
), xids AS (
    SELECT run_id, json_extract_string(detail, '$.device') AS device, count(*) AS xid
    FROM _marks WHERE mark = 'error' AND detail LIKE '%"xid"%' AND json_valid(detail)
        AND CAST(json_extract(detail, '$.xid') AS VARCHAR) NOT IN ('13', '31', '43', '45')
    GROUP BY ALL
)
SELECT run_id, writer, device, exposure, silence, CASE WHEN has_ecc THEN ecc END AS ecc,
    CASE WHEN has_throttled THEN throttled END AS throttled,
    CASE WHEN starts_with(device, 'GPU-') THEN coalesce(xid, 0) END AS xid
FROM devices LEFT JOIN xids USING (run_id, device)
WHERE exposure > 0
"""

COMPUTES_ON = """
SELECT run_id, writer, json_extract_string(detail, '$.device') AS device FROM _marks
WHERE text LIKE 'rank % computes on %' AND json_valid(detail)
"""

# Of one job, by blocks of its length: what happened in a block, and how long steps were beside the other
# ranks' at the same step. Steps count by their number.
STEPS_BY_BLOCK = """
WITH known AS (
    SELECT coalesce(rank, 0) AS rank, step, loss, step_time_s, work_s,
        CAST(floor((step - min(step) OVER ()) * $blocks / (max(step) OVER () - min(step) OVER () + 1.0))
            AS INTEGER) AS block
    FROM _steps LEFT JOIN (
        SELECT rank, step, max(value) AS work_s FROM _metrics WHERE name = 'work_time_s' GROUP BY ALL
    ) USING (rank, step) WHERE step IS NOT NULL
), usual AS (
    SELECT step, median(step_time_s) AS step_s, median(work_s) AS work_s FROM known GROUP BY step
)
SELECT rank, block, count(*) AS steps, median(known.step_time_s / usual.step_s) AS by_step,
    median(known.work_s / usual.work_s) AS by_work, bool_or(NOT isfinite(loss)) AS nonfinite_loss
FROM known JOIN usual USING (step) GROUP BY rank, block
"""

SAMPLES_BY_BLOCK = f"""{_SPANS}, placed AS (
    SELECT * EXCLUDE (last_ns), min(time_ns) OVER (PARTITION BY run_id) AS first_ns,
        max(time_ns) OVER (PARTITION BY run_id) AS last_ns
    FROM spans
), blocks AS (
    SELECT *, CAST(floor((time_ns - first_ns) * $blocks / (last_ns - first_ns + 1.0)) AS INTEGER) AS block
    FROM placed
)
SELECT writer, device, block, bool_or(dt_s > silent_s) AS silence, bool_or(ecc_grew) AS ecc,
    bool_or(is_throttled) AS throttled, any_value(first_ns) AS first_ns, any_value(last_ns) AS last_ns
FROM blocks GROUP BY writer, device, block
"""

XIDS = """
SELECT json_extract_string(detail, '$.device') AS device, time_ns FROM _marks
WHERE mark = 'error' AND detail LIKE '%"xid"%' AND json_valid(detail)
    AND CAST(json_extract(detail, '$.xid') AS VARCHAR) NOT IN ('13', '31', '43', '45')
"""
