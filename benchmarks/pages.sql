-- What several pages of results ask for; see pages.py.

-- All records of a suite, oldest first within a method.
CREATE MACRO records(suite) AS TABLE
    SELECT *, regexp_extract(filename, '(runs/[^/]*/[^/]*/[^/]*)/run.json$', 1) AS folder
    FROM read_json('runs/' || suite || '/*/*/run.json', filename = true, union_by_name = true)
    ORDER BY folder;

-- The timings of the newest run of `benchmarks.speed`, in the order measured.
CREATE MACRO timings(suite) AS TABLE
    SELECT
        * REPLACE (n_units::DOUBLE AS n_units),
        row_number() OVER () AS place,
        n_units / seconds AS per_s
    FROM (
        SELECT machine.n_cores, unnest(results.timings, recursive := true)
        FROM (FROM records('speed-' || suite) ORDER BY folder DESC LIMIT 1)
    );

CREATE MACRO duration(s) AS
    CASE WHEN s >= 1 THEN printf('%.3f s', s) ELSE printf('%.3f ms', 1000 * s) END;

-- How many times as fast ours is as each contender of one kind of work: `chosen` is what names or
-- units are like; of several that are like `ours`, the fastest counts.
CREATE MACRO ratios(suite, chosen := '%', ours := '%') AS TABLE
    SELECT
        name AS contender,
        duration(1 / per_s) AS "time per unit of work",
        printf('%.2f %s/s', per_s, unit) AS rate,
        printf('%.2f', max(per_s) FILTER (name LIKE ours) OVER () / per_s)
            AS "ours is ... times as fast",
        printf('%.0f', peak_mib) AS "peak MiB",
        note
    FROM timings(suite)
    WHERE name LIKE chosen OR unit LIKE chosen
    ORDER BY place;

-- Where and when the newest run of a suite was made.
CREATE MACRO made(suite) AS TABLE
    SELECT
        machine.cpu AS processor,
        machine.n_cores AS cores,
        coalesce(nullif(array_to_string(machine.gpus, ', '), ''), 'no GPU') AS GPU,
        strftime(make_timestamp(epoch_us(made_utc)), '%Y-%m-%d %H:%M') AS "made (UTC)",
        printf('`%s`', folder) AS record
    FROM records(suite)
    ORDER BY folder DESC
    LIMIT 1;

-- A change with its interval, where there is one.
CREATE MACRO change(value, low, high, digits) AS
    printf('%+.' || digits || 'f', value)
    || CASE
        WHEN low IS NULL OR isnan(low) THEN ''
        ELSE printf(' [%+.' || digits || 'f, %+.' || digits || 'f]', low, high)
    END;

-- A CSV file of the newest of the runs below each folder that is like `name`, in its order.
CREATE MACRO rows_of(suite, name, file) AS TABLE
    SELECT
        *,
        regexp_extract(filename, '.*(runs/[^/]*/[^/]*/[^/]*)/', 1) AS folder,
        row_number() OVER () AS place
    FROM read_csv(
        'runs/' || suite || '/' || name || '/*/' || file, filename = true, union_by_name = true
    )
    QUALIFY folder = max(folder) OVER (PARTITION BY split_part(folder, '/', 3));

-- Scores of evaluations, a table for each.
CREATE MACRO scores(name) AS TABLE
    SELECT
        concat(
            '## ', any_value(dataset), chr(10), chr(10),
            'Record `', folder, '`; blur_kind ', any_value(blur_kind), '.'
        ) AS heading,
        method,
        printf('%.2f', max(mean) FILTER (metric = 'psnr_rgb')) AS "PSNR, dB",
        max(change(delta_mean, delta_low, delta_high, 2))
            FILTER (metric = 'psnr_rgb' AND method != 'blurred')
            AS "gain [95 % interval over sequences]",
        printf('%.4f', max(mean) FILTER (metric = 'ssim_matlab_rgb3d')) AS "SSIM (MATLAB RGB)"
    FROM rows_of('evaluate', name, 'summary.csv')
    GROUP BY folder, method
    ORDER BY min(place);

-- PSNR over the blurred input, of each sequence, and by length of blur.
CREATE MACRO gains_by_sequence(name) AS TABLE
    SELECT
        place, method, sequence,
        psnr_rgb - max(psnr_rgb) FILTER (method = 'blurred') OVER (PARTITION BY folder, sequence)
            AS gain
    FROM rows_of('evaluate', name, 'sequences.csv')
    QUALIFY method != 'blurred';
CREATE MACRO gains_by_blur(name) AS TABLE
    WITH strata AS (
        FROM rows_of('evaluate', name, 'strata*.csv')
        WHERE metric = 'psnr_rgb' AND method != 'blurred'
    )
    SELECT place, method, low, change(delta_mean, delta_low, delta_high, 2) AS gain FROM strata
    UNION ALL
    SELECT DISTINCT 0, 'number of images', low, n_images::VARCHAR FROM strata;

-- What a detector finds, against what it finds in the sharp images; a table for each run.
CREATE MACRO found(name) AS TABLE
    SELECT
        concat(
            '## Detection: ', dataset, ', ', detector, chr(10), chr(10),
            'Record `', folder, '`; images of ', resolution, '. Intervals: ', "interval", '.'
        ) AS heading,
        method,
        printf('%.3f', "precision") AS "precision",
        printf('%.3f', recall) AS recall,
        printf('%.3f', f1) AS F1,
        printf('%.3f', ap50) AS AP50,
        CASE WHEN method NOT IN ('sharp', 'blurred') THEN change(
            f1_minus_blurred, f1_minus_blurred_low, f1_minus_blurred_high, 3
        ) END AS "F1 over blurred",
        CASE WHEN method NOT IN ('sharp', 'blurred') THEN change(
            ap50_minus_blurred, ap50_minus_blurred_low, ap50_minus_blurred_high, 3
        ) END AS "AP50 over blurred"
    FROM rows_of('detect', name, 'detection.csv')
    ORDER BY place;

-- The newest comparison of a scale in a few columns. Published numbers and intervals are those of
-- the tables beside its page.
CREATE MACRO headline(scale) AS TABLE
    WITH
        run AS (
            SELECT unnest(map_entries(methods)) AS entry
            FROM read_json(
                'runs/table1/' || scale || '/*/run.json',
                filename = true,
                columns = {
                    methods: 'MAP(VARCHAR, STRUCT(scale VARCHAR, published_name VARCHAR,
                        n_parameters BIGINT, seconds_per_image DOUBLE))'
                }
            )
            QUALIFY filename = max(filename) OVER ()
        ),
        scores AS (
            SELECT
                method,
                min(place) AS place,
                max(mean) FILTER (metric = 'psnr_rgb') AS psnr,
                max(mean) FILTER (metric = 'ssim_matlab_rgb3d') AS ssim
            FROM rows_of('table1', scale, 'scores/summary.csv')
            GROUP BY method
        ),
        gains AS (
            SELECT method, change(difference, low, high, 2) AS gain
            FROM read_csv('table1/' || scale || '/comparisons.csv')
            WHERE metric = 'psnr_rgb' AND baseline = 'blurred' AND blur_px_to = 'inf'
                AND blur_px_from = 0
        ),
        published AS (
            SELECT
                method AS name,
                printf('%.2f', max(value) FILTER (protocol = 'psnr_rgb')) AS psnr,
                printf('%.4f', max(value) FILTER (protocol = 'ssim_matlab_rgb3d')) AS ssim
            FROM read_csv('table1/' || scale || '/table1.csv')
            WHERE source = 'published' AND blur_kind = 'gamma'
            GROUP BY method
        )
    SELECT
        scores.method,
        coalesce(run.entry.value.scale, '–') AS scale,
        coalesce(format('{:,d}', run.entry.value.n_parameters), '–') AS parameters,
        printf('%.2f', scores.psnr) AS "PSNR (dB)",
        gain AS "gain over blurred",
        printf('%.4f', scores.ssim) AS "SSIM (MATLAB RGB)",
        coalesce(printf('%.2f', run.entry.value.seconds_per_image), '–') AS "seconds per image",
        coalesce(published.psnr, '–') AS "published on GOPRO_Large: PSNR",
        coalesce(published.ssim, '–') AS SSIM
    FROM scores
    LEFT JOIN run ON run.entry.key = scores.method
    LEFT JOIN gains USING (method)
    LEFT JOIN published ON published.name = run.entry.value.published_name
    ORDER BY place;

-- Weight files, each with the record of its training.
CREATE MACRO shipped(weights) AS TABLE
    SELECT file.filename, sha256(file.content) AS sha256, training.* EXCLUDE (filename)
    FROM read_blob(weights) AS file
    LEFT JOIN records('train') AS training ON training.weights_sha256 = sha256(file.content)
    ORDER BY file.filename;
