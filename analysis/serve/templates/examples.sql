-- How did the loss and the norm go?
SELECT step, loss, grad_norm, run_id FROM steps ORDER BY run_id, step LIMIT 2000

-- Which spikes were the worst?
SELECT run_id, seq, step, round(score, 1) AS score, message
FROM alerts WHERE alert = 'spike.grad' ORDER BY score DESC LIMIT 10

-- What happened around the first spike?
SELECT round(dt_s, 2) AS dt_s, kind, step, device, what
FROM around((SELECT min(seq) FROM alerts WHERE alert = 'spike.grad'), 5)
WHERE run_id = (SELECT min(run_id) FROM alerts WHERE alert = 'spike.grad')
ORDER BY dt_s

-- How was the device at the spikes?
SELECT a.device, count(*) AS spikes, avg(a.temperature_c) AS at_spikes_c, any_value(u.usual_c) AS usual_c
FROM alerts s
JOIN aligned a ON a.run_id = s.run_id AND a.step = s.step
JOIN (SELECT run_id, device, median(temperature_c) AS usual_c FROM samples GROUP BY ALL) u
  ON u.run_id = a.run_id AND u.device = a.device
WHERE s.alert = 'spike.grad' GROUP BY a.device ORDER BY a.device

-- Joules per step
SELECT run_id, device, max(step) - min(step) AS steps,
  coalesce(max(energy_j) - min(energy_j), avg(power_w) * (max(time_ns) - min(time_ns)) / 1e9)
    / nullif(max(step) - min(step), 0) AS joules_a_step,
  CASE WHEN max(energy_j) > min(energy_j) THEN 'energy counter' ELSE 'power over time' END AS from_what
FROM aligned WHERE power_w IS NOT NULL OR energy_j IS NOT NULL
GROUP BY ALL ORDER BY joules_a_step DESC

-- The worst GPU of ten runs
WITH last_ten AS (SELECT run_id FROM runs ORDER BY started DESC LIMIT 10),
by_run AS (
  SELECT run_id, device, max(temperature_c) AS highest_c
  FROM samples WHERE run_id IN (FROM last_ten) AND device <> 'cpu' GROUP BY ALL
),
by_heat AS (SELECT run_id, device, throttled_s FROM throttling WHERE cause = 'thermal or brake'),
by_rle AS (SELECT run_id, device, avg(rle) AS rle FROM efficiency GROUP BY ALL)
SELECT device, count(*) AS runs, max(highest_c) AS highest_c, sum(throttled_s) AS throttled_s,
  avg(rle) AS mean_rle
FROM by_run LEFT JOIN by_rle USING (run_id, device) LEFT JOIN by_heat USING (run_id, device)
GROUP BY device ORDER BY throttled_s DESC NULLS LAST, highest_c DESC

-- Which devices were throttled, and by what?
SELECT r.name, t.device, t.cause, t.share, t.throttled_s, t.episodes, t.max_temperature_c, t.source
FROM throttling t JOIN runs r USING (run_id)
WHERE t.cause IN ('thermal', 'brake', 'power')
ORDER BY t.share DESC NULLS LAST

-- Which steps were slow, and was the clock low?
SELECT run_id, step, step_time_s, device, sm_clock_mhz, temperature_c, clock_event_mask
FROM aligned
QUALIFY step_time_s >= 1.0 * quantile_cont(step_time_s, 0.99) OVER (PARTITION BY run_id, device)
ORDER BY step_time_s DESC LIMIT 20

-- What did the devices do during each step?
SELECT s.run_id, s.step, m.device, count(*) AS samples, max(m.temperature_c) AS highest_c, avg(m.power_w) AS mean_w
FROM samples m ASOF JOIN (SELECT * FROM steps WHERE coalesce(rank, 0) = 0) s
  ON m.run_id = s.run_id AND m.time_ns <= s.time_ns
WHERE m.time_ns > s.time_ns - 1e9 * s.step_time_s
GROUP BY ALL ORDER BY highest_c DESC LIMIT 20

-- When did the loss stop being a number?
SELECT run_id, count(*) AS steps, min(step) FILTER (NOT isfinite(loss) OR NOT isfinite(grad_norm)) AS first_bad_step
FROM steps GROUP BY run_id ORDER BY run_id

-- Is a sensor lying, or missing?
SELECT run_id, device, count(*) AS samples,
  1 - count(temperature_c) / count(*) AS temperature_missing, count(DISTINCT temperature_c) AS temperature_levels,
  1 - count(power_w) / count(*) AS power_missing, count(DISTINCT power_w) AS power_levels
FROM samples GROUP BY ALL ORDER BY run_id, device

-- Where are holes in the recording?
SELECT run_id, device, time, seconds FROM (
  SELECT run_id, device, time,
    (time_ns - lag(time_ns) OVER (PARTITION BY run_id, device ORDER BY time_ns)) / 1e9 AS seconds
  FROM samples)
WHERE seconds IS NOT NULL ORDER BY seconds DESC LIMIT 10

-- Alerts per hour, by kind
SELECT run_id, alert, count(*) AS alerts, any_value(hours) AS hours, count(*) / any_value(hours) AS per_hour
FROM alerts JOIN (
  SELECT run_id, (max(time_ns) - min(time_ns)) / 3.6e12 AS hours FROM steps GROUP BY run_id
) USING (run_id)
GROUP BY ALL ORDER BY per_hour DESC

-- Accuracy, beside the learning rate of each run
SELECT m.run_id, c.number AS learning_rate, max(m.value) AS best, arg_max(m.step, m.value) AS at_step
FROM metrics m LEFT JOIN config c ON c.run_id = m.run_id AND c.key = 'learning_rate'
WHERE m.name = 'accuracy' GROUP BY ALL ORDER BY best DESC

-- Accuracy, beside the temperature at each step
SELECT m.step, m.value AS accuracy, a.device, a.temperature_c
FROM metrics m JOIN aligned a ON a.run_id = m.run_id AND a.step = m.step
WHERE m.name = 'accuracy' ORDER BY m.step, a.device

-- What did the last analysis of all runs find?
SELECT run_id, device, x, y, verdict, r, lag_s, q
FROM findings WHERE is_newest AND kind = 'pair'
ORDER BY q NULLS LAST, run_id LIMIT 20

-- What became of every run in the last analysis?
SELECT run_id, host, verdict, n AS steps, repeats, error
FROM findings WHERE is_newest AND kind = 'run' ORDER BY verdict, run_id
